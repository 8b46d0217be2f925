"""Addresses, metadata, values and method wrapping: how the services talk."""
