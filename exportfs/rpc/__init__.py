"""The only code that knows gRPC and speaks the server's messages."""
