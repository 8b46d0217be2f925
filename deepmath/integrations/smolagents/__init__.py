"""Integration into smolagents (the extra `smolagents`): a code executor, a model, and the maths agent."""

from deepmath.integrations.smolagents.generator_model import DeepMathModel
from deepmath.integrations.smolagents.math_agent import MathAgent
from deepmath.integrations.smolagents.sandbox_executor import DeepMathExecutor

__all__ = ["DeepMathExecutor", "DeepMathModel", "MathAgent"]
