"""The generator service: vLLM with one model, and the agent loop around it."""
