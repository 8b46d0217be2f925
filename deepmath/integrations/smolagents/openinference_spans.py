"""OpenInference's traces of smolagents, for the classes here too."""

from typing import Any

from deepmath.errors import Unavailable
from deepmath.integrations.smolagents.generator_model import DeepMathModel
from deepmath.integrations.smolagents.math_agent import MathAgent


def instrument(tracer_provider: Any = None) -> None:
    """Do what `SmolagentsInstrumentor().instrument()` does, and the same to DeepMathModel and MathAgent.

    By itself that makes spans of every agent's runs, but of steps and answers only where the class is smolagents' own.
    `tracer_provider` is OpenTelemetry's; default: that of the process. Doing it again changes nothing.

    Raises:
        Unavailable: the packages are missing.
    """
    try:
        from openinference.instrumentation import OITracer, TraceConfig
        from openinference.instrumentation.smolagents import SmolagentsInstrumentor
        from openinference.instrumentation.smolagents._wrappers import _ModelStreamWrapper, _ModelWrapper, _StepWrapper
        from opentelemetry import trace
        from wrapt import wrap_function_wrapper
    except ImportError as error:
        raise Unavailable(
            f"traces of smolagents need a package that is not installed ({error.name}): "
            "pip install openinference-instrumentation-smolagents"
        ) from error
    if not SmolagentsInstrumentor().is_instrumented_by_opentelemetry:
        SmolagentsInstrumentor().instrument(tracer_provider=tracer_provider)
    if hasattr(MathAgent._step_stream, "__wrapped__"):
        return
    tracer = OITracer(trace.get_tracer(__name__, tracer_provider=tracer_provider), config=TraceConfig())
    for where, method, wrapper in (
        (MathAgent, "_step_stream", _StepWrapper),
        (DeepMathModel, "generate", _ModelWrapper),
        (DeepMathModel, "generate_stream", _ModelStreamWrapper),
    ):
        wrap_function_wrapper(where, method, wrapper(tracer=tracer))
