"""Servers that are not ours, and what stands before servers: Node's gRPC, Debian's C++ gRPC, nginx."""
