"""DeepMath services: contracts, clients, sandbox, data and command line, without torch, vLLM or TRL."""

__version__ = "0.1.0"
