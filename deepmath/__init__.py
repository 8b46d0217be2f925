"""DeepMath services: contracts, clients, problems and the command line. Light: no torch, no vllm, no trl."""

import os

__version__ = "0.1.0"

# What gRPC's core would write to stderr, a line for every handshake that fails by whomever, reaches us as errors too.
# Read when grpc is first used.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
