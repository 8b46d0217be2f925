"""Stubs generated from `protos/` by `make protos`; nothing else belongs in this folder."""
