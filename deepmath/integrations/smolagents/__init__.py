"""smolagents on these services: the extra `smolagents`."""

from deepmath.integrations.smolagents.agent import MathAgent
from deepmath.integrations.smolagents.executor import DeepMathExecutor
from deepmath.integrations.smolagents.model import DeepMathModel

__all__ = ["DeepMathExecutor", "DeepMathModel", "MathAgent"]
