"""Benchmarks. Each prints its figures and writes them to `benchmarks/results/`."""
