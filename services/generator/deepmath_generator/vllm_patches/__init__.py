"""Patches of private parts of vLLM."""
