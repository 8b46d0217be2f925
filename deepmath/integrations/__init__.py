"""Integrations into agent frameworks. Each has its own extra, and nothing else in `deepmath` imports it."""
