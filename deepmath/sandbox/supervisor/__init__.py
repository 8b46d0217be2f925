"""Trusted side of a sandbox: starts, measures, limits and kills the hostile process."""
