"""verifiers' `vf-eval` with our taskset against the gateway: the tool, the agent, and a killed executor."""

import asyncio
import copy
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT
from integrations.scripted_generator import ScriptedChatEngine, ScriptedGenerator, serve_scripted
from support.executor_process import kill, running

from deepmath.data.synthetic import generate

from .conftest import ServedGateway, ServeGateway

ROOT = Path(__file__).resolve().parents[2]
ENDLESS = "while True: pass"
PROBLEMS = list(generate(3))


class FunctionCallingEngine(ScriptedChatEngine):
    """Writes the scripted turns, with a chat template that describes functions."""

    def __init__(self) -> None:
        super().__init__()
        self.tokenizer = copy.deepcopy(self.tokenizer)
        self.tokenizer.chat_template = (ROOT / "tests/support/chat_templates/chatml-tools.jinja").read_text()


@pytest.fixture
def scripted(gateway_executor: str) -> Iterator[ScriptedGenerator]:
    with serve_scripted(gateway_executor, FunctionCallingEngine) as generator:
        yield generator


def call(code: str) -> str:
    return f"<tool_call>\n{json.dumps({'name': 'python', 'arguments': {'code': code}})}\n</tool_call><|im_end|>"


def answer(text: str) -> str:
    return rf"The answer is \boxed{{{text}}}.<|im_end|>"


async def evaluate(vendor_environment, folder: Path, served: ServedGateway, *options: str) -> list[dict[str, Any]]:
    """Return what vf-eval books for each rollout."""
    output = await vendor_environment("verifiers").run(
        "verifiers_eval.py",
        *(str(folder / "out"), "--client.base-url", f"{served.url}/v1", "--client.api-key-var", "NO_KEY", *options),
        env={
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "examples"))),
        },
        timeout_s=280,
    )
    return list(json.loads(output))


@pytest.mark.timeout(600)
async def test_killed_executor_is_an_error_and_no_reward(
    scripted: ScriptedGenerator, serve_gateway: ServeGateway, vendor_environment, tmp_path
) -> None:
    """Conformance: a rollout that loses its executor is booked with SandboxError and no reward; others are graded."""
    scripted.engine.replies = [
        *(call("x = 6 * 7\nprint('x')"), call("x"), answer(PROBLEMS[0].answer)),
        *(call("1 / 0"), answer("-12345")),
        *(call(ENDLESS), answer(PROBLEMS[2].answer)),  # the executor is killed in this call
    ]
    async with running(tmp_path) as doomed, serve_gateway(generator=scripted.address) as served:
        sandbox = {"executor": f"unix:{tmp_path}/socket", "patience-seconds": "0.5"}
        options = [part for name, value in sandbox.items() for part in (f"--env.taskset.sandbox.{name}", value)]
        evaluation = asyncio.create_task(
            evaluate(vendor_environment, tmp_path, served, "-m", "scripted", "-n", "3", "-c", "1", *options)
        )
        while len(doomed.audit()) < 3 and not evaluation.done():  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
        if not evaluation.done():
            await doomed.until(lambda load: load.running_snippets == 1, 280)
            kill(doomed.pid)
        booked = await evaluation
    assert booked == [
        {"ok": True, "errors": [], "accuracy": 1, "tools": ["x", "42"]},
        {"ok": True, "errors": [], "accuracy": 0, "tools": ["ZeroDivisionError: division by zero"]},
        {"ok": False, "errors": ["SandboxError"], "accuracy": None, "tools": []},
    ]


@pytest.mark.timeout(600)
async def test_the_agent_is_evaluated_on_our_problems(
    full_gateway: ServedGateway, vendor_environment, tmp_path
) -> None:
    """The agent runs Python itself, so the taskset offers no tool."""
    options = ("--env.taskset.python", "false", "--env.taskset.instructions", "", "--sampling.max-tokens", "256")
    booked = await evaluate(vendor_environment, tmp_path, full_gateway, "-m", AGENT, "-n", "2", *options)
    assert [rollout["ok"] for rollout in booked] == [True, True]
    assert {rollout["accuracy"] for rollout in booked} <= {0, 1}
