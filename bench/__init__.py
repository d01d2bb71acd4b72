"""The benchmark: our mount against peers and the bare protocol, in one run (see README.md)."""

import exportfs.grpc_environment  # noqa: F401 # before gRPC
