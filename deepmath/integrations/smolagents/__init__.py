"""smolagents on these services: the extra `smolagents`."""

from deepmath.integrations.smolagents.generator_model import DeepMathModel
from deepmath.integrations.smolagents.math_agent import MathAgent
from deepmath.integrations.smolagents.sandbox_executor import DeepMathExecutor

__all__ = ["DeepMathExecutor", "DeepMathModel", "MathAgent"]
