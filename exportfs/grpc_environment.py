"""gRPC's environment variables. It reads them when it is first imported, so whatever imports it imports this first.

Fork support must be off: libfuse forks to call mount(8) as root, and gRPC's fork handlers break that child. The other
variables are left as the user has them, for debugging.
"""

import os

os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
# gRPC writes a line to standard error for each connection that fails; we report the failure ourselves, once.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
# The system's resolver: names that only NSS knows, and every address of a name, as any other program here sees them.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")
