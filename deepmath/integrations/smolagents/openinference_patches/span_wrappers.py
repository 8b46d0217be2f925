"""OpenInference's span wrappers for steps and model calls.

`SmolagentsInstrumentor` wraps the classes of smolagents' own modules only, found by name; it has no API to instrument
another class, and no upstream issue is known. Its wrappers are called as wrapt wrappers are, and take a tracer.
"""

from openinference.instrumentation.smolagents._wrappers import _ModelStreamWrapper as ModelStreamWrapper
from openinference.instrumentation.smolagents._wrappers import _ModelWrapper as ModelWrapper
from openinference.instrumentation.smolagents._wrappers import _StepWrapper as StepWrapper

__all__ = ["ModelStreamWrapper", "ModelWrapper", "StepWrapper"]
