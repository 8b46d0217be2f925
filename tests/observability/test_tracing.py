"""Traces from the client over the generator to the executor, without any text in them."""

import asyncio
import socket
import subprocess
import sys
import time

import grpc
import pytest
from support.executor_process import run_module, running
from support.scripted_engine import CODE

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.generator.v1 import generator_pb2
from deepmath.observability import tracing

from .collector import Span

SOLVE = "deepmath.generator.v1.GeneratorService/Solve"
ROLLOUT = "deepmath.generator.v1.GeneratorService/Rollout"
SESSION = "deepmath.executor.v1.ExecutorService/Session"
EXECUTE = "deepmath.executor.v1.ExecutorService/Execute"
QUESTION = "What is hunter2 times 7?"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def of_executor(span) -> bool:
    return span.service == "deepmath-executor"


async def test_trajectory_is_one_trace_from_the_client_to_the_sandbox(traced, collector, generator) -> None:
    with tracing.span("question", kind="client"):
        events = [event async for event in generator.client.solve(QUESTION)]
    assert events[-1].vote.answer == "42"

    def of_the_question(spans: list[Span]) -> list[Span]:
        traces = {span.trace for span in spans if span.name == "question"}
        return [span for span in spans if span.trace in traces]

    await collector.until(lambda spans: len(of_the_question(spans)) >= 8)
    (question,) = collector.named("question")
    spans = of_the_question(collector.spans)
    by_name = {(span.service, span.name): span for span in spans}
    solve, trajectory = by_name["deepmath-generator", SOLVE], by_name["deepmath-generator", "trajectory"]
    requested, ran = by_name["deepmath-generator", "snippet"], by_name["deepmath-executor", "snippet"]
    assert (question.parent, solve.parent, trajectory.parent) == ("", question.id, solve.id)
    assert {span.parent for span in spans if span.name == "segment"} == {trajectory.id}
    assert (requested.parent, ran.parent) == (trajectory.id, requested.id)
    assert by_name["deepmath-executor", SESSION].parent == trajectory.id
    assert len(spans) == 8  # two segments
    assert ran.attributes["outcome"] == "ok"
    assert trajectory.attributes["status"] == "answered"
    assert trajectory.attributes["model_tokens"] == sum(
        span.attributes["tokens"] for span in spans if span.name == "segment"
    )


async def test_trajectories_of_one_call_are_separate_traces_linked_to_it(traced, collector, generator) -> None:
    prompts = [generator_pb2.RolloutPrompt(question=f"{QUESTION} {number}") for number in range(3)]
    assert len([response async for response in generator.client.rollout(prompts)]) == 3
    await collector.until(
        lambda spans: len([span for span in spans if span.links]) == 3 and ROLLOUT in map(name, spans)
    )
    (call,) = collector.named(ROLLOUT)
    trajectories = [span for span in collector.named("trajectory") if span.links == [call.id]]
    assert len({span.trace for span in trajectories} | {call.trace}) == 4

    def ran(spans) -> list[str]:
        traces = {span.trace for span in trajectories}
        return sorted(s.trace for s in spans if s.trace in traces and s.name == "snippet" and of_executor(s))

    await collector.until(lambda spans: ran(spans) == sorted(span.trace for span in trajectories))


async def test_no_span_contains_text_of_a_person_or_a_model(traced, collector, generator, observed) -> None:
    async for _ in generator.client.solve(QUESTION):
        pass
    await observed.execute("raise ValueError('hunter' + '2')")
    await observed.execute("print('the-output')\nthe_variable = = 1")
    before = len(collector.spans)
    await collector.until(lambda spans: len(spans) > before + 3)
    for text in (b"hunter", QUESTION.encode(), CODE.encode(), b"ValueError", b"the_variable", b"boxed", b"the-output"):
        assert text not in collector.raw


async def test_traceparent_of_a_foreign_client_is_the_parent_of_the_executors_spans(collector, observed) -> None:
    metadata = ((tracing.KEY, f"00-{TRACE}-{SPAN}-01"),)
    await observed.stub.Execute(pb.ExecuteRequest(code="1"), metadata=metadata)
    await collector.until(lambda spans: TRACE in [s.trace for s in spans if s.name == EXECUTE])
    (call,) = [span for span in collector.spans if span.trace == TRACE and span.name == EXECUTE]
    (snippet,) = [span for span in collector.spans if span.trace == TRACE and span.name == "snippet"]
    assert (call.parent, snippet.parent) == (SPAN, call.id)


@pytest.mark.parametrize("traceparent", ["x", "00-0-0-01", f"00-{'0' * 32}-{SPAN}-01", "9" * 4000])
async def test_malformed_parent_starts_a_new_trace(collector, observed, traceparent) -> None:
    before = len(collector.named(EXECUTE))
    assert (
        await observed.stub.Execute(pb.ExecuteRequest(code="1"), metadata=((tracing.KEY, traceparent),))
    ).result.value == "1"
    await collector.until(lambda spans: len(collector.named(EXECUTE)) > before)
    assert collector.named(EXECUTE)[-1].parent == ""


async def test_failed_call_has_its_status_and_no_message(collector, observed) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await observed.stub.Execute(pb.ExecuteRequest(code="the_code\0"))
    await collector.until(lambda spans: any(span.attributes.get("status") == "invalid_argument" for span in spans))
    assert b"NUL" not in collector.raw


async def test_unreachable_collector_delays_neither_calls_nor_shutdown(tmp_path, free_port) -> None:
    async with running(tmp_path, f"--otlp=http://127.0.0.1:{free_port}", "--waiting-sandboxes=1") as executor:
        assert (await executor.execute("6 * 7")).value == "42"
        executor.process.terminate()
        start = time.monotonic()
        assert await asyncio.wait_for(executor.process.wait(), 30) == 0
        assert time.monotonic() - start < 25


@pytest.mark.parametrize("mute", [False, True])
def test_collector_without_response_delays_shutdown_by_three_seconds_at_most(mute) -> None:
    code = (
        "import asyncio, sys, time\n"
        "from deepmath.observability import tracing\n"
        "async def main():\n"
        "    async with tracing.export_spans('test', sys.argv[1]):\n"
        "        with tracing.span('x'): pass\n"
        "        start = time.monotonic()\n"
        "    print(time.monotonic() - start)\n"
        "asyncio.run(main())"
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if mute:
            listener.listen()
        command = [sys.executable, "-P", "-c", code, f"http://127.0.0.1:{listener.getsockname()[1]}"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert float(ended.stdout) < 5


async def test_invalid_collector_address_is_a_usage_error() -> None:
    ended = await run_module("--otlp", "collector:4317")
    assert ended.status == 2
    assert "otlp: " in ended.err
    assert "http://HOST:PORT" in ended.err


def test_missing_packages_are_reported_with_the_extra_that_has_them() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.sdk'] = None\n"  # makes the import fail
        "from deepmath_executor.__main__ import main; sys.exit(main(['--otlp', 'http://127.0.0.1:1']))"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 1
    assert "install the extra `tracing`" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_sdk_is_loaded_for_export_only() -> None:
    code = (
        "import asyncio, sys, deepmath.serving.service_process, deepmath.clients\n"
        "from deepmath.observability import tracing\n"
        "async def main():\n"
        "    async with tracing.export_spans('test'):\n"
        "        with tracing.span('x') as span: span.set(a=1)\n"
        "asyncio.run(main())\n"
        "print(tracing.traceparent(), [name for name in sys.modules"
        " if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter', 'opentelemetry.proto'))])"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.strip() == "[]"


def test_help_loads_nothing_of_opentelemetry() -> None:
    code = (
        "import sys\n"
        "from deepmath.cli.main import main\n"
        "sys.argv = ['deepmath', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "print('loaded:', [name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    ended = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert ended.stdout.splitlines()[-1] == "loaded: []"


async def test_traceparent_of_a_client_passes_through_a_service_that_exports_nothing() -> None:
    parent = f"00-{TRACE}-{SPAN}-01"

    async def handle_call() -> tuple[str, str]:
        with tracing.task_span("call", kind="server", parent=parent), tracing.span("step") as span:
            span.set(a=1)
            return tracing.traceparent(), tracing.trace_id()

    assert await asyncio.create_task(handle_call()) == (parent, TRACE)
    assert tracing.traceparent() == ""


def name(span) -> str:
    return span.name
