"""Patches of vLLM for the CPU backend."""
