"""The gRPC server that every service runs in, and its configuration."""
