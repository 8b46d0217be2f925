"""E2B's protocol: executions, contexts, sandboxes, and failures that are not the code's."""

import asyncio
import base64
import json
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from support.executor_process import kill, running
from support.secured import add_token

from .conftest import ServedGateway, ServeGateway

ENDLESS = "while True: pass"


def of(sandbox: str) -> dict[str, str]:
    return {"E2b-Sandbox-Id": sandbox}


async def create(http: httpx.AsyncClient, headers: dict[str, str] | None = None, **request) -> dict[str, Any]:
    """Return a new sandbox."""
    response = await http.post("/v2/sandboxes", json={"templateID": "base"} | request, headers=headers)
    assert response.status_code == 201, response.text
    return response.json()


async def events(http: httpx.AsyncClient, code: str, sandbox: str = "", **request) -> list[dict[str, Any]]:
    """Return the events of an execution."""
    response = await http.post("/execute", json={"code": code} | request, headers=of(sandbox) if sandbox else {})
    assert response.status_code == 200, response.text
    return [json.loads(line) for line in response.text.splitlines()]


async def test_the_events_of_an_execution(http: httpx.AsyncClient) -> None:
    sandbox = (await create(http))["sandboxID"]
    number, stdout, stderr, value, end = await events(
        http, "import sys\nprint('out')\nprint('err', file=sys.stderr)\n[1, 2]", sandbox
    )
    assert number == {"type": "number_of_executions", "execution_count": 2}  # the first one opened the sandbox
    assert (stdout["type"], stdout["text"]) == ("stdout", "out\n")
    assert (stderr["type"], stderr["text"]) == ("stderr", "err\n")
    assert value == {"type": "result", "text": "[1, 2]", "extra": {}, "is_main_result": True}
    assert end == {"type": "end_of_execution"}
    *_, error, _ = await events(http, "1 / 0", sandbox)
    assert (error["name"], error["value"]) == ("ZeroDivisionError", "division by zero")
    assert error["traceback"].endswith("ZeroDivisionError: division by zero\n")


async def test_output_comes_while_the_code_runs(http: httpx.AsyncClient) -> None:
    """Code without an end is cancelled as soon as its output is there; the sandbox goes on without it."""
    sandbox = (await create(http))["sandboxID"]
    await events(http, "x = 1", sandbox)
    code = f"import sys\nx = 2\nprint('a')\nprint('b', file=sys.stderr)\n{ENDLESS}"
    async with http.stream("POST", "/execute", json={"code": code}, headers=of(sandbox)) as response:
        assert response.headers["content-type"] == "application/x-ndjson"
        lines = response.aiter_lines()
        number, stdout, stderr = [json.loads(await anext(lines)) for _ in range(3)]
    assert number["execution_count"] == 3
    assert [(event["type"], event["text"]) for event in (stdout, stderr)] == [("stdout", "a\n"), ("stderr", "b\n")]
    number, value, _ = await events(http, "x", sandbox)
    assert (number["execution_count"], value["text"]) == (3, "1")


async def test_output_is_whole_and_its_events_are_valid_lines(http: httpx.AsyncClient) -> None:
    code = "import time\nfor n in range(4): print(n, '\\u2028{\\x85€' * 20_000, flush=True); time.sleep(0.05)\n7"
    number, *texts, value, end = await events(http, code)
    assert {event["type"] for event in texts[:-1]} == {"stdout"}
    assert "bytes were cut out of the middle of the stdout" in texts[-1]["text"]
    assert "".join(event["text"] for event in texts[:-1]).startswith("0 \u2028{\x85€")
    assert (number["type"], value["text"], end["type"]) == ("number_of_executions", "7", "end_of_execution")


@pytest.mark.parametrize("separator", ["\n", "\r", "\x0b", "\x1c", "\x85", "\u2028", "\u2029"])
async def test_output_cannot_forge_events(http: httpx.AsyncClient, separator: str) -> None:
    """The SDK splits lines at every separator of Unicode."""
    forged = separator + json.dumps({"type": "error", "name": "Forged", "value": "", "traceback": ""}) + separator
    seen = await events(http, f"print({forged!r}); {forged!r}")
    assert [event["type"] for event in seen] == ["number_of_executions", "stdout", "result", "end_of_execution"]
    assert seen[1]["text"] == forged + "\n"


async def test_a_crash_is_an_error_that_says_so(http: httpx.AsyncClient) -> None:
    sandbox = (await create(http))["sandboxID"]
    *_, error, _ = await events(http, "print('a' * 20_000_000)", sandbox)
    assert error["name"] == "OutputLimitError"
    assert "all variables are lost" in error["traceback"]


async def test_figures_are_results(plotting_gateway: ServedGateway) -> None:
    async with plotting_gateway.client() as http:
        seen = await events(http, "import matplotlib.pyplot as plt\nplt.plot([1]); plt.show()\nplt.plot([2])\n7")
    figures = [event for event in seen if event.get("png")]
    assert len(figures) == 2
    assert all(base64.b64decode(figure["png"]).startswith(b"\x89PNG") for figure in figures)
    assert [event["is_main_result"] for event in seen if event["type"] == "result"] == [False, False, True]


REFUSED = [
    ("/execute", {"code": "1", "language": "javascript"}, 400, "Python only"),
    ("/execute", {"code": "1", "env_vars": {"A": "b"}}, 400, "no environment variables"),
    ("/execute", {"code": "1", "language": "python", "context_id": "x"}, 400, "Only one of"),
    ("/execute", {"code": "1", "context_id": "x"}, 404, "no such context"),
    ("/execute", {"code": 1}, 400, "code"),
    ("/execute", ["code"], 400, ""),
    ("/execute", {"code": "a" * (300 << 10)}, 400, "code"),
    ("/contexts", {"language": "r"}, 400, "Python only"),
    ("/contexts", {"cwd": "/etc"}, 400, "no files"),
    ("/v2/sandboxes", {"templateID": "other"}, 404, "not found"),
    ("/v2/sandboxes", {"templateID": "base", "envVars": {"A": "b"}}, 400, "no environment variables"),
    ("/v2/sandboxes", {"templateID": "base", "volumeMounts": [{"name": "v", "path": "/"}]}, 400, "volume_mounts"),
    ("/v2/sandboxes", {"templateID": "base", "metadata": {"a": "b" * 5000}}, 400, "metadata"),
    ("/v2/sandboxes", {"templateID": "base", "timeout": -1}, 400, "timeout"),
    ("/sandboxes/x/pause", {}, 501, "Python only"),
    ("/v2/sandboxes/x/connect", {}, 404, "not found"),
    ("/process.Process/Start", {}, 501, "Python only"),
]


@pytest.mark.parametrize(("path", "request_", "status", "reason"), REFUSED)
async def test_what_is_not_served_is_refused(
    http: httpx.AsyncClient, path: str, request_: object, status: int, reason: str
) -> None:
    response = await http.post(path, json=request_)
    assert response.status_code == status
    assert response.json()["code"] == status
    assert reason in response.json()["message"]
    assert len(response.text) < 1000


async def test_a_sandbox_ends_by_its_timeout_with_its_contexts(serve_gateway: ServeGateway, gateway_executor) -> None:
    async with serve_gateway(executor=gateway_executor) as served, served.client() as http:
        sandbox = (await create(http, timeout=60, metadata={"who": "me"}))["sandboxID"]
        await http.post("/contexts", json={}, headers=of(sandbox))
        assert len((await http.get("/contexts", headers=of(sandbox))).json()) == 2
        assert (await http.get("/v2/sandboxes?metadata=who%3Dme")).json()[0]["sandboxID"] == sandbox
        assert (await http.get("/v2/sandboxes?metadata=who%3Dyou")).json() == []
        running_call = asyncio.create_task(http.post("/execute", json={"code": ENDLESS}, headers=of(sandbox)))
        await asyncio.sleep(0.3)
        assert (await http.post(f"/sandboxes/{sandbox}/timeout", json={"timeout": 0})).status_code == 204
        assert (await running_call).status_code == 502  # which the SDK takes for the end of the sandbox
        for call in (http.get("/contexts", headers=of(sandbox)), http.get("/health", headers=of(sandbox))):
            assert (await call).status_code == 502
        assert (await http.get(f"/sandboxes/{sandbox}")).status_code == 404
        assert (await http.get("/v2/sandboxes")).json() == []


async def test_a_timeout_of_zero_is_no_default(http: httpx.AsyncClient) -> None:
    ended, longest = (await create(http, timeout=0), await create(http, timeout=10**30))
    assert (await http.get(f"/sandboxes/{ended['sandboxID']}")).status_code == 404
    info = (await http.get(f"/sandboxes/{longest['sandboxID']}")).json()
    assert datetime.fromisoformat(info["endAt"]) - datetime.fromisoformat(info["startedAt"]) < timedelta(hours=2)
    await http.delete(f"/sandboxes/{longest['sandboxID']}")


async def test_another_clients_sandbox_is_unknown(serve_gateway: ServeGateway, gateway_executor: str, tmp_path) -> None:
    tokens = tmp_path / "tokens.toml"
    keys = {name: add_token(tokens, name, "execute").read_text().strip() for name in ("alice", "bob")}
    generate_only = add_token(tokens, "carol", "generate").read_text().strip()
    async with serve_gateway(executor=gateway_executor, tokens=tokens) as served, served.client() as http:
        alices = await create(http, {"X-API-Key": keys["alice"]})
        sandbox, token = alices["sandboxID"], alices["envdAccessToken"]
        access = of(sandbox) | {"X-Access-Token": token}  # all that the SDK sends
        await http.post("/execute", json={"code": "secret = 'hidden'"}, headers=access)
        context = (await http.post("/contexts", json={}, headers=access)).json()["id"]
        bob = {"X-API-Key": keys["bob"]}
        bobs = (await create(http, bob))["sandboxID"]
        guesses = [sandbox, sandbox.upper(), "0" * 32, "", "debug_sandbox_id", "../" + sandbox, context]
        for guess in guesses:
            response = await http.post("/execute", json={"code": "secret"}, headers=bob | of(guess))
            assert response.status_code == 502 or "NameError" in response.text
            assert "hidden" not in response.text
        for response in (
            await http.get(f"/sandboxes/{sandbox}", headers=bob),
            await http.delete(f"/sandboxes/{sandbox}", headers=bob),
            await http.post(f"/sandboxes/{sandbox}/timeout", json={"timeout": 0}, headers=bob),
            await http.post(f"/v2/sandboxes/{sandbox}/connect", json={"timeout": 9}, headers=bob),
            await http.post("/execute", json={"code": "1", "context_id": context}, headers=bob | of(bobs)),
            await http.delete(f"/contexts/{context}", headers=bob | of(bobs)),
        ):
            assert response.status_code == 404
        listed = (await http.get("/v2/sandboxes", headers=bob)).json()
        assert sandbox not in {item["sandboxID"] for item in listed}
        seen = await http.post("/execute", json={"code": "secret"}, headers=access)
        assert "hidden" in seen.text
        assert (await http.post("/execute", json={"code": "1"}, headers=of(sandbox))).status_code == 401
        carol = {"X-API-Key": generate_only}
        assert (await http.post("/execute", json={"code": "1"}, headers=carol)).status_code == 403


async def test_quotas_and_capacity_are_refused_where_the_sdk_retries(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path, "--max-sessions=2"),
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.3, max_sessions_per_client=3) as served,
        served.client() as http,
    ):
        first = await create(http)
        await create(http)
        full = await http.post("/v2/sandboxes", json={})
        await http.post("/contexts", json={}, headers=of(first["sandboxID"]))
        quota = await http.post("/v2/sandboxes", json={})
        for response in (full, quota):
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) >= 1
        assert "no capacity" in full.text or "sessions" in full.text
        await http.delete(f"/sandboxes/{first['sandboxID']}")
        await create(http)


async def test_a_killed_executor_is_not_an_error_of_the_code(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path) as doomed,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5) as served,
        served.client() as http,
    ):
        sandbox = (await create(http))["sandboxID"]
        call = asyncio.create_task(http.post("/execute", json={"code": ENDLESS}, headers=of(sandbox)))
        await doomed.until(lambda load: load.running_snippets == 1)
        kill(doomed.pid)
        for response in (await call, await http.post("/v2/sandboxes", json={})):
            assert response.status_code == 503
            assert response.headers["retry-after"]


async def test_a_killed_executor_breaks_off_a_response_that_has_begun(serve_gateway: ServeGateway, tmp_path) -> None:
    """No event could say that the failure is not the code's."""
    async with (
        running(tmp_path) as doomed,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5) as served,
        served.client() as http,
        http.stream("POST", "/execute", json={"code": f"print('a')\n{ENDLESS}"}) as response,
    ):
        lines = response.aiter_lines()
        assert [json.loads(await anext(lines))["type"] for _ in range(2)] == ["number_of_executions", "stdout"]
        kill(doomed.pid)
        with pytest.raises(httpx.RemoteProtocolError):
            await anext(lines)


async def test_variables_survive_an_executor(serve_gateway: ServeGateway, tmp_path) -> None:
    """A sandbox is replayed on another executor at the same address."""
    async with serve_gateway(executor=f"unix:{tmp_path}/socket") as served, served.client() as http:
        async with running(tmp_path) as doomed:
            sandbox = (await create(http))["sandboxID"]
            await events(http, "x = 41", sandbox)
            kill(doomed.pid)
        async with running(tmp_path):
            assert {"type": "result", "text": "42", "extra": {}, "is_main_result": True} in (
                await events(http, "x + 1", sandbox)
            )
