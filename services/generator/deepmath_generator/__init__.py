"""The generator service: one model served by vLLM, and the agent loop around it."""
