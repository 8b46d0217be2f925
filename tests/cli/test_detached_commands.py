"""`deepmath up --detach` and `deepmath down`, and the commands and programs that use what runs between them."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from deepmath import connect, connect_async
from deepmath.data.synthetic import generate
from deepmath.local_stack.detached_stack import read_detached
from deepmath.local_stack.state_folder import STATE_VARIABLE

QUESTION = next(generate(1, "test", 0)).problem
STARTING = "starting the local stack"


@pytest.fixture
async def state(deepmath, tmp_path, monkeypatch) -> AsyncIterator[Path]:
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    yield tmp_path / "state"
    await deepmath("down")


def read_private(file: Path) -> str:
    assert file.stat().st_mode & 0o077 == 0
    return file.read_text()


async def check_gateway(address: str, key: Path) -> None:
    """Check that a gateway serves at `address`, to those who can read the file `key`."""
    headers = {"Authorization": f"Bearer {read_private(key)}"}
    async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False) as http:
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/no-such-path")).status_code == 401
        assert (await http.get("/no-such-path", headers=headers)).status_code == 404


@pytest.mark.slow
@pytest.mark.timeout(1000)
async def test_commands_and_programs_use_the_detached_stack(deepmath, state, tmp_path, caplog) -> None:
    started = await deepmath("up", "--detach", "--idle-seconds", "600")
    assert started.status == 0
    record = read_detached()
    assert record
    assert f"generator  {record.generator}" in started.out
    again = await deepmath("up", "--detach")
    assert again.out == started.out
    await check_gateway(record.gateway, state / "gateway.key")

    solved = await deepmath("solve", "--json", "--temperature", "0", QUESTION)
    assert (solved.status, solved.err) == (0, "")
    assert json.loads(solved.out)["trajectories"][0]["status"] != "INFRASTRUCTURE_FAILED"
    executed = await deepmath("exec", "-", stdin="6 * 7")
    assert (executed.out, executed.err) == ("42\n", "")
    folder = tmp_path / "evaluation"
    evaluated = await deepmath("eval", "--samples", "1", "--limit", "2", "--output", str(folder))
    assert evaluated.status == 0
    assert STARTING not in evaluated.err

    with connect() as math:
        solution = await asyncio.to_thread(math.solve, QUESTION, samples=3, seed=1)
        assert len(solution.samples) == sum(solution.votes.values()) == 3
        failed = math.run("1 / 0")
        assert failed.error
        assert failed.error.type == "ZeroDivisionError"
    async with connect_async() as math:
        many = asyncio.gather(*(math.solve(QUESTION, samples=64) for _ in range(4)))
        await asyncio.sleep(0.5)
        many.cancel()
        with pytest.raises(asyncio.CancelledError):
            await many
        assert (await math.solve(QUESTION, python=False, max_tokens=20)).question == QUESTION
    assert caplog.text == ""  # neither started a stack

    shown = await deepmath("up", "--status")
    assert shown.status == 0
    assert "stops after 0:10:00 without calls" in shown.out
    assert str(state / "logs") in shown.out
    ended = await deepmath("down")
    assert f"its logs are in {state}/logs" in ended.out
    assert not any(service.is_running for service in (record.keeper, *record.services))
    assert (await deepmath("up", "--status")).status == 1


async def test_executor_alone_serves_exec_and_is_not_used_with_other_options(deepmath, state) -> None:
    started = await deepmath("up", "--detach", "--executor-only")
    assert "an executor alone" in started.out
    record = read_detached()
    assert record
    await check_gateway(record.gateway, state / "gateway.key")
    assert json.loads((await deepmath("exec", "-", "--json", stdin="6 * 7")).out)["value"] == "42"
    other = await deepmath("exec", "-", "--allow-module", "os", stdin="import os\nos.sep")
    assert (other.out, other.err) == ("'/'\n", "")  # by an executor of its own
    refused = await deepmath("up", "--detach")
    assert refused.status == 1
    assert "a detached stack with other settings runs, an executor alone; `deepmath down` stops it" in refused.err
    assert (await deepmath("down")).status == 0
    assert not (state / "gateway.key").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--detach", "--executor", "127.0.0.1:50051"], "unix sockets of its own"),
        (["--executor-only", "--model", "x"], "starts no generator"),
        (["--detach", "--model", "./no-such-model"], "no model at ./no-such-model"),
        (["--detach", "--idle-seconds", "-1"], "idle-seconds"),
    ],
)
async def test_incorrect_usage_of_up_has_exit_status_2(deepmath, state, arguments: list[str], message: str) -> None:
    ended = await deepmath("up", *arguments)
    assert ended.status == 2
    assert message in ended.err
    assert not state.exists()


async def test_untrusted_state_is_reported_and_not_used(deepmath, state) -> None:
    state.mkdir(mode=0o755)
    ended = await deepmath("exec", "-", stdin="6 * 7")
    assert ended.out == "42\n"
    assert "is not trusted: it must be a folder of this user with mode 0700" in ended.err
    assert (await deepmath("up", "--detach")).status == 2
    state.rmdir()


async def test_down_without_a_stack_succeeds(deepmath, state) -> None:
    ended = await deepmath("down")
    assert (ended.status, ended.out) == (0, "no detached stack\n")
