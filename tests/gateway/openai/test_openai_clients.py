"""OpenAI's API through its users' clients: openai, langchain-openai, openai-agents, evaluators, LiteLLM's proxy."""

import asyncio
import copy
import json
import time
from pathlib import Path
from typing import Any

import pytest
from deepmath_gateway.openai.served_models import AGENT
from support.chat_templates import HERMES_2_PRO
from support.scripted_engine import CODE
from support.spoken_engine import SpokenEngine, SpokenExecutor, serve_spoken
from support.vendor_environment import SCRIPTS

from gateway.openai.conftest import CHAT

pytestmark = pytest.mark.vendors

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "math500.jsonl"
ANSWER = "The answer is \\boxed{42}."


def at(url: str) -> dict[str, str]:
    return {"OPENAI_BASE_URL": f"{url}/v1", "OPENAI_API_KEY": "key"}


@pytest.fixture
def openai_client(vendor_environment):
    return vendor_environment("openai")


@pytest.fixture
def evaluators(vendor_environment):
    return vendor_environment("evaluators")


async def tour(openai_client, url: str, chat: str) -> dict[str, Any]:
    seen = json.loads(await openai_client.run("openai_client.py", "tour", AGENT, chat, env=at(url)))
    completions, responses, errors = seen["completions"], seen["responses"], seen["errors"]
    assert seen["models"] == [AGENT, chat]
    assert completions["streamed"] == completions["content"]
    assert completions["streamed finish"] == completions["finish"]
    assert completions["streamed usage"] == completions["usage"]
    assert completions["ids"] == len(completions["mask"])
    assert completions["logprobs"] == sum(completions["mask"]) == completions["usage"]["completion_tokens"]
    assert completions["four"] == [0, 1, 2, 3]
    assert responses["final text"] is not None
    assert responses["kinds"][-1] in ("response.completed", "response.incomplete")
    assert errors == {
        "model": ["NotFoundError", 404, "model_not_found"],
        "role": ["BadRequestError", 400, None],
        "top_logprobs": ["BadRequestError", 400, None],
        "timeout": ["APITimeoutError", None, None],
    }
    return dict(seen)


async def test_openais_client_and_a_model_that_calls_python(openai_client, spoken) -> None:
    seen = await tour(openai_client, spoken.url, CHAT)
    completions, responses = seen["completions"], seen["responses"]
    assert completions["content"] == f"I compute. {ANSWER}"
    assert CODE in completions["reasoning"]
    assert responses["items"] == ["reasoning", "message", "code_interpreter_call", "message"]
    assert responses["code"] == [[CODE, ["42"]]]
    assert responses["usage"]["output_tokens_details"]["tool_output_tokens"] > 0
    for kind in ("in_progress", "interpreting", "completed"):
        assert f"response.code_interpreter_call.{kind}" in responses["kinds"]
    for kind in ("delta", "done"):
        assert f"response.code_interpreter_call_code.{kind}" in responses["kinds"]


async def test_openais_client_and_the_embedded_model(openai_client, full_gateway, engine) -> None:
    await tour(openai_client, full_gateway.url, engine.model)


async def test_openais_client_leaves_a_stream(openai_client, serve_gateway, executor, tmp_path: Path) -> None:
    """Request and sandbox are gone within a second: by the clock that all processes of the machine share."""
    endless = SpokenEngine(call="I compute. <tool_call>\nwhile True:\n    pass\n</tool_call>")
    before = (await executor.get_info()).load.live_sessions
    async with serve_spoken(endless, executor) as generator, serve_gateway(generator=generator) as served:
        signal = tmp_path / "runs"
        script = openai_client.run("openai_client.py", "leave", AGENT, str(signal), env=at(served.url))
        running = asyncio.create_task(script)
        while not (await executor.get_info()).load.running_snippets and not running.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        signal.touch()
        while (await executor.get_info()).load.live_sessions > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        gone = time.monotonic()
        assert gone - json.loads(await running)["left"] < 1
        assert endless.running == 0


async def test_langchain_and_openai_agents(openai_client, serve_gateway) -> None:
    engine = SpokenEngine(
        answer=f"{ANSWER}<|im_end|>",
        function_call='<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call><|im_end|>',
    )
    engine.tokenizer = copy.copy(engine.tokenizer)
    engine.tokenizer.chat_template = HERMES_2_PRO
    async with serve_spoken(engine, SpokenExecutor()) as generator, serve_gateway(generator=generator) as served:
        seen = json.loads(await openai_client.run("openai_agents_client.py", AGENT, CHAT, env=at(served.url)))
    langchain, agents = seen["langchain"], seen["agents"]
    assert langchain["answer"] == langchain["streamed"] == f"I compute. {ANSWER}"
    assert langchain["usage"]["output_token_details"]["reasoning"] > 0
    assert "code_interpreter_call" in langchain["blocks"]
    assert langchain["responses"].endswith(ANSWER)
    assert langchain["call"] == ["add", {"a": 1, "b": 2}]
    assert langchain["final"] == ANSWER
    assert agents.pop("streamed") == [
        ANSWER,
        [
            "response.code_interpreter_call.completed",
            "response.code_interpreter_call.in_progress",
            "response.code_interpreter_call.interpreting",
            "response.code_interpreter_call_code.delta",
            "response.code_interpreter_call_code.done",
        ],
    ]
    assert agents == {
        "chat with function": ANSWER,
        "chat of the agent": f"I compute. {ANSWER}",
        "responses with function": ANSWER,
        "responses of the agent": ANSWER,
        "second turn": ANSWER,
    }
    assert all("3" in engine.tokenizer.decode(prompt) for prompt in engine.prompts if is_output(engine, prompt))


def is_output(engine: SpokenEngine, prompt: list[int]) -> bool:
    return "<tool_response>" in engine.tokenizer.decode(prompt)


@pytest.fixture
def problems(tmp_path: Path) -> tuple[Path, float]:
    """A few problems in the form of MATH-500, of its own if it is there, and the share of them whose answer is 42."""
    if DATA.is_file():
        lines = [json.loads(line) for line in DATA.read_text().splitlines()[:3]]
    else:
        lines = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(3)]
    lines.append({"problem": "What is 6 * 7?", "answer": "42"})
    fields = [{name: line[name] for name in ("problem", "answer")} for line in lines]
    file = tmp_path / "problems.jsonl"
    file.write_text("".join(f"{json.dumps(line)}\n" for line in fields))
    return file, sum(line["answer"] == "42" for line in fields) / len(fields)


async def test_lm_eval(evaluators, spoken, problems, tmp_path: Path) -> None:
    file, accuracy = problems
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    task = (SCRIPTS / "lm_eval_task.yaml").read_text().replace("FILE", str(file))
    (tasks / "problem_file.yaml").write_text(task)
    model = f"model={AGENT},base_url={spoken.url}/v1/chat/completions,num_concurrent=2,max_retries=1"
    options = ["--tasks", "problem_file", "--include_path", str(tasks), "--apply_chat_template"]
    options += ["--output_path", str(tmp_path / "results")]
    caches = {"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OPENAI_API_KEY": "key"}
    await evaluators.execute(
        *("-P", "-m", "lm_eval", "--model", "local-chat-completions", "--model_args", model, *options), env=caches
    )
    (results,) = (tmp_path / "results").rglob("results_*.json")
    assert json.loads(results.read_text())["results"]["problem_file"]["exact_match,boxed"] == accuracy


async def test_inspect_ai(evaluators, spoken, problems, tmp_path: Path) -> None:
    file, accuracy = problems
    env = {"DEEPMATH_BASE_URL": f"{spoken.url}/v1", "DEEPMATH_API_KEY": "key", "HOME": str(tmp_path)}
    seen = json.loads(await evaluators.run("inspect_ai_eval.py", str(file), str(tmp_path), AGENT, env=env))
    assert (seen["status"], seen["samples"]) == ("success", 4)
    assert seen["accuracy"] >= accuracy
    assert seen["output"] == f"I compute. {ANSWER}"
    assert min(seen["tokens"]) > 0


async def test_litellm_as_proxy(vendor_environment, spoken, free_port: int) -> None:
    environment = vendor_environment("litellm")
    arguments = (spoken.url, AGENT, str(free_port))
    seen = json.loads(await environment.run("litellm_proxy.py", *arguments, timeout_s=280))  # it imports for 12 s
    assert seen["content"] == seen["streamed"] == f"I compute. {ANSWER}"
    assert seen["tokens"] > 0
    assert seen["error"] == 400
