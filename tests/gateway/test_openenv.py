"""OpenEnv's protocol: episodes, concurrent environments, hostile clients, and failures that are no reward."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.executor_process import kill, running
from support.secured import add_token
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .conftest import ServedGateway, ServeGateway

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "openenv_client.py"
ENDLESS = {"type": "step", "data": {"code": "while True: pass"}}


@asynccontextmanager
async def environment(served: ServedGateway, **options) -> AsyncIterator[ClientConnection]:
    """A connection to an environment of its own."""
    async with connect(f"ws://{served.server.address}/ws", proxy=None, open_timeout=60, **options) as socket:
        yield socket


async def exchange(socket: ClientConnection, kind: str, **data) -> dict[str, Any]:
    """Return the answer to a message."""
    await socket.send(json.dumps({"type": kind} | ({"data": data} if data else {})))
    return dict(json.loads(await socket.recv()))


async def step(socket: ClientConnection, code: str) -> dict[str, Any]:
    """Return the observation of a step."""
    answer = await exchange(socket, "step", code=code)
    assert answer["type"] == "observation", answer
    assert (answer["data"]["reward"], answer["data"]["done"]) == (None, False)
    return dict(answer["data"]["observation"])


async def test_an_episode(gateway: ServedGateway) -> None:
    async with environment(gateway) as socket:
        assert (await exchange(socket, "reset", seed=5, episode_id="e", split="test"))["data"] == {
            "observation": {"stdout": "", "stderr": "", "exit_code": 0, "metadata": {}},
            "reward": None,
            "done": False,
        }
        drawn = await step(socket, "import random; x = random.random()\nprint('drawn')\nx")
        assert drawn["stdout"].startswith("drawn\n0.")
        assert (await step(socket, "x = 'kept'"))["metadata"] == {"outcome": "OK", "state_lost": False}
        failed = await step(socket, "print(x); 1 / 0")
        assert (failed["stdout"], failed["exit_code"], failed["metadata"]["outcome"]) == ("kept\n", 1, "EXCEPTION")
        assert failed["stderr"].endswith("ZeroDivisionError: division by zero\n")
        assert (await exchange(socket, "state"))["data"] == {"episode_id": "e", "step_count": 3, "last_exit_code": 1}
        await exchange(socket, "reset", seed=5)
        assert (await exchange(socket, "state"))["data"] == {
            "episode_id": None,
            "step_count": 0,
            "last_exit_code": 0,
        }
        again = await step(socket, "import random; print('drawn')\nrandom.random()")
        assert again["stdout"] == drawn["stdout"]
        assert (await step(socket, "x"))["exit_code"] == 1
        killed = await step(socket, "print('a' * 20_000_000)")
        assert (killed["exit_code"], killed["metadata"]["state_lost"]) == (-9, True)
        await socket.send(json.dumps({"type": "close"}))
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1000


MISTAKES: list[tuple[str | bytes, str]] = [
    ("nonsense", "INVALID_JSON"),
    (b"\x00\x01", "INVALID_JSON"),
    ("[]", "INVALID_JSON"),
    ("9" * 5000, "INVALID_JSON"),
    ("[" * 100_000, "VALIDATION_ERROR"),
    ('{"type": "step", "data": {"code": "\\ud800"}}', "VALIDATION_ERROR"),
    ("{}", "UNKNOWN_TYPE"),
    ('{"type": ["step"]}', "UNKNOWN_TYPE"),
    ('{"type": "mcp", "data": {}}', "UNKNOWN_TYPE"),
    ('{"type": "step"}', "VALIDATION_ERROR"),
    ('{"type": "step", "data": []}', "VALIDATION_ERROR"),
    ('{"type": "step", "data": {"code": 1}}', "VALIDATION_ERROR"),
    ('{"type": "step", "data": {"code": "1", "%s": 1}}' % ("x" * 10_000), "VALIDATION_ERROR"),
    ('{"type": "step", "data": {"code": "%s"}}' % ("1" * 300_000), "VALIDATION_ERROR"),
    ('{"type": "reset", "data": {"seed": -1}}', "VALIDATION_ERROR"),
    ('{"type": "reset", "data": {"seed": 18446744073709551616}}', "VALIDATION_ERROR"),
    ('{"type": "reset", "data": {"episode_id": "%s"}}' % ("e" * 300), "VALIDATION_ERROR"),
]


async def test_a_mistake_is_an_error_and_the_environment_goes_on(gateway: ServedGateway) -> None:
    async with environment(gateway) as socket:
        await step(socket, "x = 3")
        for message, code in MISTAKES:
            await socket.send(message)
            answer = json.loads(await socket.recv())
            assert (answer["type"], answer["data"]["code"]) == ("error", code), message[:80]
            assert len(answer["data"]["message"]) < 500
        assert (await step(socket, "x"))["stdout"] == "3\n"


async def test_a_client_that_floods_is_disconnected(gateway: ServedGateway) -> None:
    async with environment(gateway) as socket:
        for _ in range(40):
            await socket.send(json.dumps(ENDLESS))
        assert "one at a time" in json.loads(await socket.recv())["data"]["message"]
        await socket.wait_closed()
        assert socket.close_code == 1008


async def test_schemas_and_metadata(http: httpx.AsyncClient) -> None:
    schema = (await http.get("/schema")).json()
    assert schema["action"]["required"] == ["code"]
    assert set(schema["observation"]["properties"]) == {"stdout", "stderr", "exit_code", "metadata"}
    assert (await http.get("/metadata")).json()["name"] == "deepmath"


async def test_the_end_of_a_connection_ends_its_sandbox_and_its_place(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path) as executor,
        serve_gateway(executor=f"unix:{tmp_path}/socket", max_sessions_per_client=1) as served,
    ):
        async with environment(served) as socket:
            await socket.send(json.dumps(ENDLESS))
            await executor.until(lambda load: load.running_snippets == 1)
            async with environment(served) as other:
                assert json.loads(await other.recv())["data"]["code"] == "CAPACITY_REACHED"
                with pytest.raises(ConnectionClosed):
                    await other.recv()
                assert other.close_code == 1013
        await executor.until(lambda load: load.live_sessions == 0, 2)
        async with environment(served) as socket:
            assert (await step(socket, "1"))["stdout"] == "1\n"


async def test_an_idle_environment_ends(serve_gateway: ServeGateway, gateway_executor: str) -> None:
    async with (
        serve_gateway(executor=gateway_executor, session_idle_seconds=0.2) as served,
        environment(served) as socket,
    ):
        assert json.loads(await socket.recv())["data"]["code"] == "SESSION_ERROR"
        with pytest.raises(ConnectionClosed):
            await socket.recv()


async def test_a_killed_executor_is_an_error_and_no_observation(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5) as served,
        environment(served) as socket,
    ):
        async with running(tmp_path) as doomed:
            await step(socket, "x = 5")
            await socket.send(json.dumps(ENDLESS))
            await doomed.until(lambda load: load.running_snippets == 1)
            kill(doomed.pid)
            answer = json.loads(await socket.recv())
            assert (answer["type"], answer["data"]["code"]) == ("error", "EXECUTION_ERROR")
            assert "reward" not in answer["data"]
        async with running(tmp_path):
            while (answer := await exchange(socket, "step", code="x"))["type"] == "error":
                pass  # until the gateway has connected again
            assert answer["data"]["observation"]["stdout"] == "5\n"  # replayed on the new executor
            assert (await exchange(socket, "state"))["data"]["step_count"] == 2


async def test_a_client_needs_a_key_with_the_scope(
    serve_gateway: ServeGateway, gateway_executor: str, tmp_path
) -> None:
    tokens = tmp_path / "tokens.toml"
    keys = {scope: add_token(tokens, scope, scope).read_text().strip() for scope in ("execute", "generate")}
    async with serve_gateway(executor=gateway_executor, tokens=tokens) as served:
        for headers, status in ({}, 401), ({"Authorization": f"Bearer {keys['generate']}"}, 403):
            with pytest.raises(InvalidStatus) as refused:
                async with environment(served, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == status
        async with environment(served, additional_headers={"X-API-Key": keys["execute"]}) as socket:
            assert (await step(socket, "1"))["stdout"] == "1\n"


@pytest.mark.timeout(600)
async def test_openenvs_generic_client(
    gateway: ServedGateway, serve_gateway: ServeGateway, vendor_environment, tmp_path
) -> None:
    """Conformance too: a step whose executor is killed raises in the client, and has no observation and no reward."""
    async with (
        running(tmp_path) as doomed,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5) as served,
    ):
        arguments = (str(EXAMPLE), gateway.url, served.url)
        run = vendor_environment("openenv").run("openenv_client.py", *arguments, timeout_s=280)
        client = asyncio.create_task(run)
        await doomed.until(lambda load: load.running_snippets == 1, 280)
        kill(doomed.pid)
        seen = json.loads(await client)
    assert seen["example"] == "42\n"
    error = seen["failure"]["error"]
    assert (error[:14], error[-23:]) == ("Server error: ", "(code: EXECUTION_ERROR)")
    assert seen["tour"] == {
        "reset": [{"stdout": "", "stderr": "", "exit_code": 0, "metadata": {}}, None, False],
        "steps": [["x is 1\n41\n", None, False], ["x is 2\n42\n", None, False]],
        "error": ["ZeroDivisionError: division by zero", 1],
        "state": {"episode_id": "episode-1", "step_count": 3, "last_exit_code": 1},
        "after reset": 1,
        "wrong action": "Server error: code: Field required (code: VALIDATION_ERROR)",
    }
