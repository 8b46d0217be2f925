"""OpenInference spans of MathAgent and DeepMathModel."""

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from smolagents import CodeAgent
from support.scripted_engine import CODE

from deepmath.errors import Unavailable
from deepmath.integrations.smolagents import DeepMathModel, MathAgent
from deepmath.integrations.smolagents.openinference_spans import instrument
from deepmath.integrations.smolagents.smolagents_patches.step_loop import StepLoopAgent

TASK = "What is 6 * 7?"


@pytest.fixture
def spans() -> Iterator[Any]:
    """An exporter of this process's spans. Nothing is instrumented yet."""
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter: Any = InMemorySpanExporter()  # with the provider, for the tests
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    exporter.provider = provider
    originals = [(owner, name, owner.__dict__[name]) for owner, name in METHODS]
    yield exporter
    SmolagentsInstrumentor().uninstrument()
    for owner, name, method in originals:
        setattr(owner, name, method)


METHODS = ((StepLoopAgent, "_step_stream"), (DeepMathModel, "generate"), (DeepMathModel, "generate_stream"))


def test_run_is_a_span_with_token_counts_by_the_instrumentor_alone(spans, model) -> None:
    from openinference.instrumentation.smolagents import SmolagentsInstrumentor

    SmolagentsInstrumentor().instrument(tracer_provider=spans.provider)
    agent = MathAgent(model)
    agent.run(TASK)
    (run,) = spans.get_finished_spans()
    assert run.name == "MathAgent.run"
    assert run.attributes["output.value"] == "42"
    assert run.attributes["llm.token_count.completion"] == agent.monitor.total_output_token_count > 0


def test_steps_are_child_spans_of_their_run(spans, model) -> None:
    instrument(spans.provider)
    instrument(spans.provider)
    list(MathAgent(model, name="maths").run(TASK, stream=True))
    first, second, run = spans.get_finished_spans()
    assert [first.name, second.name, run.name] == ["Step 1", "Step 2", "maths.run"]
    assert {first.parent.span_id, second.parent.span_id} == {run.context.span_id}
    assert first.attributes["output.value"] == "42"
    assert CODE in run.attributes["output.value"]


def test_model_calls_are_child_spans_of_their_step(spans, model, scripted_generator) -> None:
    instrument(spans.provider)
    scripted_generator.engine.replies = ["<code>\nfinal_answer(42)\n</code>"] * 2
    CodeAgent([], model).run(TASK)
    CodeAgent([], model, stream_outputs=True).run(TASK)
    named = {span.name: span for span in spans.get_finished_spans()}
    for name in ("DeepMathModel.generate", "DeepMathModel.generate_stream"):
        assert named[name].attributes["llm.model_name"] == "scripted"
        assert named[name].attributes["llm.token_count.prompt"] > 100
        assert (
            "final_answer(42)"
            in named[name].attributes["llm.output_messages.0.message.contents.0.message_content.text"]
        )
    assert named["DeepMathModel.generate_stream"].parent.span_id == named["Step 1"].context.span_id


def test_calls_to_the_generator_carry_the_current_span(spans, model) -> None:
    from deepmath.observability import tracing

    async def traceparent() -> str:
        return tracing.traceparent()

    with spans.provider.get_tracer("test").start_as_current_span("mine") as span:
        assert format(span.context.trace_id, "032x") in model._loop.run(traceparent())


def test_missing_package_is_named_with_its_install_command(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "openinference.instrumentation", None)
    with pytest.raises(Unavailable, match="pip install openinference-instrumentation-smolagents"):
        instrument()
