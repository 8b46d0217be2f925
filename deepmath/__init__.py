"""DeepMath services: contracts, clients, problems and the command line. Light: no torch, no vllm, no trl."""

__version__ = "0.1.0"
