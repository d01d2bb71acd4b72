"""The only code that knows gRPC and speaks the server's messages."""

import exportfs.grpc_environment  # noqa: F401 # before gRPC
