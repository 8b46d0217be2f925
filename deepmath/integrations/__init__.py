"""Integrations into other programs. Each has its own extra; no other package but the command line uses it."""
