"""A complete stack with mutual TLS and tokens."""

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.secured import Authority, Served, add_token, serving

from deepmath.clients import GeneratorClient, TrainerClient
from deepmath.errors import Forbidden, InvalidRequest, Unauthenticated
from deepmath.local_stack.stack import EMBEDDED_MODEL, EMBEDDED_OPTIONS

pytestmark = [pytest.mark.slow, pytest.mark.vllm, pytest.mark.timeout(900)]

_RUN = (
    *("optimizer.steps=1", "optimizer.micro_batch=4"),
    *("rollout.groups=2", "rollout.samples=2", "evaluation.problems=0"),
)
_STEP_SECONDS = 240


@dataclass
class Stack:
    executor: Served
    generator: Served
    trainer: Served
    tls: Path
    tokens: dict[str, Path]


@pytest.fixture(scope="module")
async def stack(tmp_path_factory) -> AsyncIterator[Stack]:
    """Executor, generator and trainer, each with a certificate and a token with the scopes it needs."""
    folder = tmp_path_factory.mktemp("stack")
    authority, known = Authority(folder / "authority"), folder / "tokens.toml"
    scopes = {
        "generator": ["execute"],
        "trainer": ["generate", "update-adapter"],
        "reader": ["generate"],
        "me": ["train"],
    }
    tokens = {name: add_token(known, name, *granted) for name, granted in scopes.items()}

    def options(service: str, *others: str | Path) -> tuple[str | Path, ...]:
        own = ("--token-file", tokens[service]) if service in tokens else ()
        return ("--tls", authority.issue(service), "--tokens", known, *own, *others)

    runs = folder / "runs"
    async with (
        serving("executor", folder, *options("executor"), preload="maths") as executor,
        serving(
            "generator",
            folder,
            *options("generator", "--executor", executor.address, "--model", EMBEDDED_MODEL, *EMBEDDED_OPTIONS),
        ) as generator,
        serving("trainer", folder, *options("trainer", "--runs", runs)) as trainer,
    ):
        yield Stack(executor, generator, trainer, authority.issue("person"), tokens)


async def test_question_is_solved_over_mutual_tls_and_the_executor_identifies_the_generator(
    stack, deepmath, monkeypatch
):
    monkeypatch.setenv("DEEPMATH_TLS", str(stack.tls))
    monkeypatch.setenv("DEEPMATH_TOKEN_FILE", str(stack.tokens["reader"]))
    ended = await deepmath("solve", "--generator", stack.generator.address, "--samples", "8", "What is 12 * 34?")
    assert (ended.status, ended.err) == (0, "")
    assert "408" in ended.out
    assert await stack.executor.audit_of("generator")
    assert {line["client"] for line in stack.executor.audit()} == {"generator"}


async def test_adapter_of_a_client_without_its_scope_is_rejected(stack, tmp_path):
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (tmp_path / name).write_text("{}")
    async with GeneratorClient(stack.generator.address, tls=stack.tls, token_file=stack.tokens["reader"]) as client:
        with pytest.raises(Forbidden, match="reader may not call UpdateAdapter: its token lacks the scope update-"):
            await client.update_adapter(tmp_path, 1, model="tiny-math")
    async with GeneratorClient(stack.generator.address, tls=stack.tls, token_file=stack.tokens["trainer"]) as client:
        with pytest.raises(InvalidRequest):  # permitted, and rejected for its content
            await client.update_adapter(tmp_path, 1, model="tiny-math")


async def test_generator_rejects_a_client_without_a_token(stack):
    async with GeneratorClient(stack.generator.address, tls=stack.tls) as client:
        with pytest.raises(Unauthenticated):
            await client.get_info()


async def test_run_trains_with_a_generator_over_mutual_tls(stack):
    async with TrainerClient(stack.trainer.address, tls=stack.tls, token_file=stack.tokens["me"]) as client:
        overrides = [*_RUN, f"generators=['{stack.generator.address}']"]
        run = (await client.start_run(recipe="tiny-math", overrides=overrides, name="secured")).run
        async with asyncio.timeout(_STEP_SECONDS):
            async for update in client.watch_run("secured"):
                run = update.run if update.HasField("run") else run
    assert (run.error, run.step) == ("", 1)


async def test_each_service_reports_its_health(stack):
    for served in (stack.executor, stack.generator, stack.trainer):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deepmath.serving.health_check", "--tls", str(stack.tls), served.address)
        )
        assert await process.wait() == 0
