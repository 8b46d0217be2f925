"""OpenInference spans for DeepMathModel and MathAgent."""

from typing import Any

from deepmath.errors import Unavailable
from deepmath.integrations.smolagents.generator_model import DeepMathModel
from deepmath.integrations.smolagents.smolagents_patches.step_loop import StepLoopAgent


def instrument(tracer_provider: Any = None) -> None:
    """Instrument smolagents, as `SmolagentsInstrumentor().instrument()` does, and also DeepMathModel and MathAgent.

    The instrumentor alone creates spans for the runs of every agent, but for steps and model calls of smolagents' own
    classes only. `tracer_provider` is OpenTelemetry's; default: the process's. Idempotent.

    Raises:
        Unavailable: The instrumentation is not installed.
    """
    try:  # openinference-instrumentation-smolagents is optional
        from openinference.instrumentation import OITracer, TraceConfig
        from openinference.instrumentation.smolagents import SmolagentsInstrumentor
        from opentelemetry import trace
        from wrapt import wrap_function_wrapper

        from deepmath.integrations.smolagents.openinference_patches import span_wrappers
    except ImportError as error:
        raise Unavailable(
            f"spans of smolagents need a package that is not installed ({error.name}): "
            "pip install openinference-instrumentation-smolagents"
        ) from error
    if not SmolagentsInstrumentor().is_instrumented_by_opentelemetry:
        SmolagentsInstrumentor().instrument(tracer_provider=tracer_provider)
    if hasattr(StepLoopAgent._step_stream, "__wrapped__"):
        return
    tracer = OITracer(trace.get_tracer(__name__, tracer_provider=tracer_provider), config=TraceConfig())
    for owner, method, wrapper in (
        (StepLoopAgent, "_step_stream", span_wrappers.StepWrapper),
        (DeepMathModel, "generate", span_wrappers.ModelWrapper),
        (DeepMathModel, "generate_stream", span_wrappers.ModelStreamWrapper),
    ):
        wrap_function_wrapper(owner, method, wrapper(tracer=tracer))
