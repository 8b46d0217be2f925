"""Metrics, traces and logs of the services."""
