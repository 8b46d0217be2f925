"""NeMo-Skills' sandbox protocol, beside recorded answers of its own server."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.executor_process import kill, running
from support.secured import add_token

from .conftest import ServedGateway, ServeGateway

# By nemo_skills/code_execution/local_sandbox/local_sandbox_server.py of commit 8b18f399.
RECORDED = json.loads((Path(__file__).parent / "recorded" / "nemo_skills.json").read_text())
ENDLESS = "while True: pass"
STUBBORN = "sum(iter(int, 1))"  # in C, until it is killed


def request_(code: str, **more) -> dict[str, Any]:
    return {"generated_code": code, "timeout": 10.0} | more


async def execute(http: httpx.AsyncClient, code: str, session: str = "a session", **more) -> dict[str, Any]:
    """Return the answer to a cell."""
    headers = {"X-Session-ID": session} if session else {}
    response = await http.post("/execute", json=request_(code, **more), headers=headers)
    assert response.status_code == 200, response.text
    return response.json()


async def test_answers_are_those_of_the_recorded_server(gateway: ServedGateway) -> None:
    """One client sends all that was recorded, in order."""
    async with gateway.client() as http:
        for number, recorded in enumerate(RECORDED):
            headers = {name: f"recorded {value}" for name, value in recorded["headers"].items()}
            path = recorded["path"].replace("/s1", "/recorded s1")
            response = await http.request(recorded["method"], path, json=recorded["request"], headers=headers)
            where = f"{number}: {recorded['request'] or path}"
            assert response.status_code == recorded["status"], where
            _compare(response.json(), recorded["response"], where)


def _compare(ours: Any, theirs: Any, where: str) -> None:
    if "sessions" in theirs:
        session, expected = ours["sessions"]["recorded s1"], theirs["sessions"]["s1"]
        assert {name: type(value) for name, value in session.items()} == {
            name: type(value) for name, value in expected.items()
        }
        assert ours["backend"] == theirs["backend"]
        return
    for name, value in theirs.items():
        if name in ("message", "error", "worker") or value == ours[name]:
            continue
        # Ours keeps what was printed before a time limit, and the variables, which theirs loses with the process.
        if "60)" in where or where.startswith(("10:", "11:")):
            continue
        # Tracebacks are those of the sandbox: the last line is the same.
        assert name in ("stdout", "stderr"), where
        if "x = (" not in where:
            assert ours[name].splitlines()[-1] == value.splitlines()[-1], where
            assert value.partition("Traceback")[0] == ours[name].partition("Traceback")[0], where


async def test_a_session_whose_variables_are_lost_is_new(http: httpx.AsyncClient) -> None:
    assert (await execute(http, "x = 1", "lost"))["new_session_created"]
    timeout = await execute(http, f"print('early')\n{STUBBORN}", "lost", timeout=0.5)
    assert timeout == {
        "process_status": "timeout",
        "stdout": "early\n",
        "stderr": "Execution timed out after 0.5 seconds\n",
        "new_session_created": True,
    }
    after = await execute(http, "x", "lost")
    assert (after["process_status"], after["new_session_created"]) == ("error", True)
    assert not (await execute(http, "x", "lost"))["new_session_created"]


async def test_a_limit_that_the_cell_ends_at_keeps_the_variables(http: httpx.AsyncClient) -> None:
    await execute(http, "x = 1", "kept")
    assert (await execute(http, ENDLESS, "kept", timeout=0.5))["process_status"] == "timeout"
    assert (await execute(http, "x", "kept"))["stdout"] == "1\n"


@pytest.mark.parametrize("language", ["pypy3", "lean4", "shell", "ruby" * 1000])
async def test_another_language_is_refused_in_an_answer_that_the_client_reads(
    http: httpx.AsyncClient, language: str
) -> None:
    response = await http.post("/execute", json=request_("1", language=language))
    answer = response.json()
    assert response.status_code == 400
    assert (answer["process_status"], answer["stdout"]) == ("error", "")
    assert "Python only" in answer["stderr"]
    assert len(response.text) < 1000


@pytest.mark.parametrize("wrong", [{"timeout": -1}, {"timeout": "x"}, {"max_output_characters": -1}, {"std_input": 5}])
async def test_a_malformed_request_is_refused(http: httpx.AsyncClient, wrong: dict[str, Any]) -> None:
    response = await http.post("/execute", json=request_("1") | wrong)
    assert response.status_code == 400
    assert next(iter(wrong)) in response.text


async def test_outputs_are_cut_at_their_head(http: httpx.AsyncClient) -> None:
    code = "import sys\nfor n in range(100_000): print(n)\nprint('é' * 50_000, file=sys.stderr)"
    answer = await execute(http, code, max_output_characters=5000)
    assert answer["stdout"] == "".join(f"{n}\n" for n in range(100_000))[:5000] + "<output cut>"
    assert answer["stderr"] == "é" * 5000 + "<output cut>"
    assert (await execute(http, "print(1)", max_output_characters=0))["stdout"] == "<output cut>"
    assert len((await execute(http, "print('a' * 10**6)", max_output_characters=10**30))["stdout"]) <= 256 << 10


async def test_another_clients_sessions_are_unknown(
    serve_gateway: ServeGateway, gateway_executor: str, tmp_path
) -> None:
    """Two clients use the same id, and one tries to list and to end the other's."""
    tokens = tmp_path / "tokens.toml"
    keys = {name: add_token(tokens, name, "execute").read_text().strip() for name in ("alice", "bob")}
    async with serve_gateway(executor=gateway_executor, tokens=tokens) as served, served.client() as http:

        def as_(name: str) -> dict[str, str]:
            return {"Authorization": f"Bearer {keys[name]}", "X-Session-ID": "same"}

        for name in ("alice", "bob"):
            await http.post("/execute", json=request_(f"x = {name!r}"), headers=as_(name))
        seen = (await http.post("/execute", json=request_("x"), headers=as_("bob"))).json()
        assert seen["stdout"] == "'bob'\n"
        await http.delete("/sessions/same", headers=as_("bob"))
        assert (await http.get("/sessions", headers=as_("bob"))).json()["sessions"] == {}
        assert list((await http.get("/sessions", headers=as_("alice"))).json()["sessions"]) == ["same"]
        assert (await http.delete("/sessions/same", headers=as_("bob"))).status_code == 404
        basic = httpx.URL(served.url).copy_with(username="x", password=keys["alice"])  # as NeMo-Skills may
        assert list((await http.get(basic.join("/sessions"))).json()["sessions"]) == ["same"]
        assert (await http.get("/sessions")).status_code == 401


async def test_infrastructure_failures_and_overload_are_the_status_that_the_client_retries(
    serve_gateway: ServeGateway, tmp_path
) -> None:
    async with (
        running(tmp_path, "--max-sessions=2") as doomed,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5, max_sessions_per_client=3) as served,
        served.client() as http,
    ):
        for session in ("one", "two"):
            await execute(http, "1", session)
        full = await http.post("/execute", json=request_("1"), headers={"X-Session-ID": "three"})
        quota = await http.post("/execute", json=request_("1"), headers={"X-Session-ID": "four"})
        call = asyncio.create_task(http.post("/execute", json=request_(ENDLESS), headers={"X-Session-ID": "one"}))
        await doomed.until(lambda load: load.running_snippets == 1)
        kill(doomed.pid)
        for response in (full, quota, await call):
            assert response.status_code == 502
            assert "process_status" not in response.json()
