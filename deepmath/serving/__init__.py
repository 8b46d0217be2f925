"""The gRPC server of every service, its process and its configuration."""
