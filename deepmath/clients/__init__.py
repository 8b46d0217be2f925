"""Clients of the services: what people use is what the services use among themselves."""

from deepmath.clients.executor import ExecutorClient
from deepmath.clients.executor_session import ExecutorSession
from deepmath.clients.generator import GeneratorClient
from deepmath.clients.host_functions import HostFunction
from deepmath.clients.trainer import TrainerClient

__all__ = ["ExecutorClient", "ExecutorSession", "GeneratorClient", "HostFunction", "TrainerClient"]
