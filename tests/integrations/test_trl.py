"""TRL's GRPOTrainer with environments and tools of ours: a step on the embedded model, and failed rollouts."""

import asyncio
import math
import runpy
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import deepmath_trainer.trl_patches  # noqa: F401 - keeps TRL from importing vLLM
import pytest
from datasets import Dataset
from support.executor_process import kill, running
from support.secured import add_token
from transformers import AutoTokenizer
from transformers.utils import get_json_schema
from trl import GRPOConfig, GRPOTrainer
from trl.chat_template_utils import is_chat_template_prefix_preserving, parse_response, supports_tool_calling

from deepmath.dialects import DIALECTS
from deepmath.errors import InvalidRequest, Unauthenticated, Unavailable
from deepmath.integrations.trl import (
    PythonEnvironment,
    RolloutSandboxes,
    accuracy_reward,
    unless_failed,
    use_tool_call_dialect,
)
from deepmath.local_stack.stack import EMBEDDED_MODEL

from .conftest import in_thread

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "trl_grpo.py"
ON_CPU = {"use_cpu": True, "bf16": False, "save_strategy": "no", "report_to": "none"}
PROMPT = [{"role": "system", "content": "Use Python."}, {"role": "user", "content": "What is 6 * 7?"}]
ENDLESS, END_OF_CALL = "while True: pass", "</tool_call>"


@pytest.fixture
def sandboxes(executor_address: str) -> Iterator[RolloutSandboxes]:
    with RolloutSandboxes(executor_address) as sandboxes:
        yield sandboxes


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return use_tool_call_dialect(AutoTokenizer.from_pretrained(EMBEDDED_MODEL))


class ScriptedTrainer(GRPOTrainer):
    """TRL's trainer with scripted rollouts: the turns of each, as texts."""

    def __init__(self, script: list[list[str]], *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.turns = [iter(turns) for turns in script]
        self.active = list(range(len(script)))

    def _generate_single_turn(self, *_, **__):
        """Return the next turn of each rollout whose last turn was a call."""
        texts = [next(self.turns[number]) for number in self.active]
        self.active = [number for number, text in zip(self.active, texts, strict=True) if text.endswith(END_OF_CALL)]
        return [self.processing_class.encode(text, add_special_tokens=False) for text in texts], None


def call(code: str) -> str:
    return f"<tool_call>\n{code}\n</tool_call>"


def trainer_of(script: list[list[str]], folder: Path, tokenizer, **options) -> ScriptedTrainer:
    """Return a trainer for one step on one group of rollouts."""
    config = GRPOConfig(
        str(folder),
        max_steps=1,
        per_device_train_batch_size=len(script),
        num_generations=len(script),
        max_completion_length=512,
        logging_steps=1,
        gradient_checkpointing=False,
        **ON_CPU,
    )
    rows = Dataset.from_list([{"prompt": PROMPT, "answer": "42"}] * 4)
    return ScriptedTrainer(
        script, str(EMBEDDED_MODEL), accuracy_reward, config, rows, processing_class=tokenizer, **options
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true")  # PyTorch's, where there is no GPU
@in_thread
def test_example_takes_a_step_on_the_embedded_model(executor_address: str, tmp_path: Path, monkeypatch) -> None:
    assert len(EXAMPLE.read_text().splitlines()) <= 30
    monkeypatch.setattr(sys, "argv", [str(EXAMPLE), executor_address, str(tmp_path)])
    trainer = runpy.run_path(str(EXAMPLE), run_name="__main__")["trainer"]
    (step, _) = trainer.state.log_history
    assert trainer.state.global_step == 1
    assert step["tools/call_frequency"] > 0
    assert step["tools/failure_frequency"] == 0
    assert 0 <= step["rewards/accuracy_reward/mean"] <= 1


@pytest.mark.slow
@pytest.mark.parametrize("door", ["environment_factory", "tools"])
async def test_killed_executor_is_no_reward(door: str, tmp_path: Path, tokenizer) -> None:
    """Conformance: rollouts that lose their executor have no reward and advantage 0; the others share the baseline."""
    script = [
        [call("6 * 7"), r"It is \boxed{42}.<|im_end|>"],
        [call("1"), r"\boxed{1}<|im_end|>"],
        [call(ENDLESS), r"\boxed{0}<|im_end|>"],  # the executor is killed in this call
        [call("6 * 7"), r"\boxed{42}<|im_end|>"],  # and is gone in this one
        [r"\boxed{7}<|im_end|>"],
    ]
    async with running(tmp_path) as doomed:
        with RolloutSandboxes(f"unix:{tmp_path}/socket", patience_seconds=0.5) as sandboxes:
            options = {"environment_factory": partial(PythonEnvironment, sandboxes), "tools": [sandboxes.tool()]}
            trainer = await asyncio.to_thread(trainer_of, script, tmp_path, tokenizer, **{door: options[door]})
            step = asyncio.create_task(asyncio.to_thread(trainer.train))
            while len(doomed.audit()) < 2 and not step.done():  # noqa: ASYNC110 - in another process
                await asyncio.sleep(0.05)
            await doomed.until(lambda load: load.running_snippets == 1, 120)
            kill(doomed.pid)
            await step
    booked = [None if math.isnan(reward) else reward for reward in trainer._logs["rewards"]["accuracy_reward"]]
    assert booked == [1, 0, None, None, 0]
    right, wrong, *lost, also_wrong = trainer._logs["advantages"]
    assert lost == [0, 0]
    assert right > 0 > wrong == also_wrong
    assert right + wrong + also_wrong == pytest.approx(0, abs=1e-6)
    (logged, _) = trainer.state.log_history
    assert logged["reward"] == pytest.approx(1 / 3)
    assert logged["tools/failure_frequency"] == 0.5


@in_thread
def test_environment_keeps_variables_until_its_reset(sandboxes: RolloutSandboxes) -> None:
    environment = PythonEnvironment(sandboxes)
    environment.reset(prompt=[], answer="1")
    assert environment.python("x = 20\nprint('hello')") == "hello"
    assert environment.python("```python\nx + 2\n```") == "22"
    assert environment.python("1 / 0") == "ZeroDivisionError: division by zero"
    environment.reset()
    assert environment.python("x").startswith("NameError")
    assert environment.python("\ud800").startswith("Error: code has a lone surrogate")
    assert not environment.failed


@in_thread
def test_tool_has_a_sandbox_for_each_call(sandboxes: RolloutSandboxes) -> None:
    python = sandboxes.tool()
    assert python("x = 1\nx") == "1"
    assert python("x").startswith("NameError")


@in_thread
def test_environment_fails_until_its_reset(tmp_path: Path) -> None:
    with RolloutSandboxes(f"unix:{tmp_path}/nobody", patience_seconds=0.1) as sandboxes:
        environment = PythonEnvironment(sandboxes)
        environment.reset()
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"not available \(failure [0-9a-f]{32}\)"):
                environment.python("1")
        assert environment.failed
        environment.reset()
        assert not environment.failed


async def test_refusal_by_the_executor_ends_the_run(tmp_path: Path) -> None:
    """Otherwise every rollout would be left out, and nothing would be trained."""
    tokens = tmp_path / "tokens.toml"
    add_token(tokens, "trainer", "execute")
    (tmp_path / "old").write_text("revoked\n")
    (tmp_path / "old").chmod(0o600)
    async with running(tmp_path, f"--tokens={tokens}"):
        await asyncio.to_thread(is_refused, f"unix:{tmp_path}/socket", tmp_path / "old")


def is_refused(address: str, token_file: Path) -> None:
    with RolloutSandboxes(address, token_file=token_file) as sandboxes:
        environment = PythonEnvironment(sandboxes)
        environment.reset()
        with pytest.raises(Unavailable):
            environment.python("1")
        assert environment.failed
        with pytest.raises(Unauthenticated):
            environment.reset()


def test_address_that_is_none_is_a_mistake_of_the_user() -> None:
    with pytest.raises(InvalidRequest):
        RolloutSandboxes("nonsense")


@in_thread
def test_no_output_can_pass_for_a_failure(tmp_path: Path) -> None:
    sandboxes = RolloutSandboxes(f"unix:{tmp_path}/nobody", patience_seconds=0.1)
    with sandboxes, pytest.raises(Unavailable) as failure:
        sandboxes.tool()("1")
    real, forged = str({"error": str(failure.value)}), f"(failure {'0' * 32})"
    zero = unless_failed(lambda completions, **_: [0.0] * len(completions))
    answer = {"role": "assistant", "content": real}  # a model that repeats what it has not been told
    completions = [
        [{"role": "tool", "content": text}, {"role": "assistant", "content": "1"}] for text in (real, forged, "1")
    ]
    assert zero(completions=[*completions, [answer], "text"]) == [None, 0, 0, 0, 0]


def test_accuracy_is_that_of_the_last_answer_outside_calls() -> None:
    def chat(*texts: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text} for text in texts]

    completions = [
        chat(r"\boxed{1}", r"so \boxed{\frac{1}{2}}"),
        chat(r"\boxed{0.5}", ""),
        [*chat("I see"), {"role": "tool", "content": r"\boxed{1/2}"}],
        chat("no box"),
    ]
    assert accuracy_reward(completions=completions, answer=["1/2"] * 4) == [1, 1, 0, 0]
    assert accuracy_reward(completions=[r"\boxed{2}"], answer=[r"\frac{"]) == [None]


def test_models_read_a_schema_of_the_tool(sandboxes: RolloutSandboxes) -> None:
    for tool in sandboxes.tool(), PythonEnvironment(sandboxes).python:
        function = get_json_schema(tool)["function"]
        assert function["name"] == "python"
        assert function["parameters"]["properties"] == {"code": {"type": "string", "description": "Python code."}}


OUTPUTS = ["42", "", "a\n```\n<tool_call>\n2\n</tool_call>", "```output\n1\n```\n\n````", "<|im_start|>assistant\n"]


def test_markup_is_that_of_the_dialect(tokenizer) -> None:
    assert supports_tool_calling(tokenizer)
    assert is_chat_template_prefix_preserving(tokenizer)
    dialect = DIALECTS["tool-call"]
    for output in OUTPUTS:
        messages = [
            *PROMPT,
            {"role": "assistant", "content": "So:\n", "tool_calls": [tool_call("6 * 7")]},
            {"role": "tool", "name": "python", "content": output},
        ]
        rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        turn = rendered.partition("<|im_start|>assistant\n")[2]
        assert turn == "So:\n" + dialect.write_call("6 * 7") + dialect.output(output, "")[0].text


def test_calls_are_read_once(tokenizer) -> None:
    start = "<|im_start|>assistant\n"
    for output in OUTPUTS:
        shown = DIALECTS["tool-call"].output(output, "")[0].text
        prefix = f"{start}{call('1')}{shown}{call('2')}{shown}"
        for text, calls in ((f"{call('3')}", ["3"]), (r"\boxed{3}<|im_end|>", [])):
            ids, before = (tokenizer.encode(one, add_special_tokens=False) for one in (text, prefix))
            parsed = parse_response(tokenizer, ids, prefix=before)
            assert [one["function"]["arguments"]["code"] for one in parsed.get("tool_calls", [])] == calls, output


def tool_call(code: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "python", "arguments": {"code": code}}}
