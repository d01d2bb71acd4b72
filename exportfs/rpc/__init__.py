"""The only code that knows gRPC and speaks the server's messages."""

import os

# gRPC writes to standard error of each connection that fails; what matters of that is said by us, once.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
