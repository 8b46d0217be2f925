"""A sandbox for untrusted Python, without gRPC."""
