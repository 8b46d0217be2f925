"""The services: one folder is one process. None imports another; they meet over gRPC."""
