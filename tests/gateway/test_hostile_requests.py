"""Requests with hostile values in every field of the sandbox protocols: refused or served, and never a failure."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

VALUES: list[Any] = [None, True, -1, 1 << 64, 10**4000, 1e308, "", "\x00", "9" * 10_000, ["x"], {"x": {"y": []}}]
NUMBERS = ["NaN", "-Infinity", "1e999", "1" * 5000]
BROKEN = ["", "null", "[]", '"x"', "{", '{"code": "1"', "[" * 50_000, '{"code":' * 50_000]
REQUESTS: dict[str, dict[str, Any]] = {
    "/run_code": {
        "code": "1",
        "language": "python",
        "stdin": "",
        "run_timeout": 5,
        "compile_timeout": 1,
        "memory_limit_MB": 100,
        "files": {},
        "fetch_files": [],
    },
    "/run_jupyter": {"cells": ["1"], "cell_timeout": 5, "total_timeout": 5, "kernel": "python3", "files": {}},
    "/execute": {"code": "1", "context_id": None, "language": None, "env_vars": None},
    "/execute ": {
        "generated_code": "1",
        "timeout": 5,
        "language": "ipython",
        "std_input": "",
        "max_output_characters": 10,
        "traceback_verbosity": "Plain",
    },
    "/contexts": {"cwd": None, "language": None},
    "/v2/sandboxes/debug_sandbox_id/connect": {"timeout": 5},
    "/sandboxes/debug_sandbox_id/timeout": {"timeout": 5},
}


def bodies() -> Iterator[tuple[str, str]]:
    """Yield a path and a body for each field and hostile value, and for bodies that are no requests."""
    for path, request in REQUESTS.items():
        for name, sound in request.items():
            for value in VALUES:
                yield path, json.dumps(request | {name: value})
            for number in NUMBERS if isinstance(sound, int) else ():
                yield path, json.dumps(request | {name: "HERE"}).replace('"HERE"', number)
        for body in BROKEN:
            yield path, body


async def test_every_field_with_every_hostile_value(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json", "X-Session-ID": "hostile"}
    served = 0
    for path, body in bodies():
        if path == "/contexts" and served % 50 == 0:  # they count against the quota
            for context in (await http.get("/contexts")).json()[1:]:
                await http.delete(f"/contexts/{context['id']}")
        response = await http.post(path.strip(), content=body, headers=headers)
        assert response.status_code < 500, (path, body[:300], response.text)
        assert len(response.content) < 1 << 20
        if response.status_code >= 400:
            assert len(response.content) < 2000, (path, body[:300])
        served += response.status_code == 200
    assert served > 30
    assert (await http.post("/run_code", json=REQUESTS["/run_code"])).json()["status"] == "Success"


@pytest.mark.parametrize(
    "path",
    [
        "/sessions/..%2f..%2fetc",
        "/sessions/%00",
        "/sessions/" + "a" * 10_000,
        "/sandboxes/..",
        "/sandboxes/%0d%0aX-Header:%201",
        "/contexts/%2e%2e/restart",
        "//execute",
        "/execute/",
        "/run_code/../execute",
        "/RUN_CODE",
    ],
)
async def test_a_path_that_is_none_of_ours(http: httpx.AsyncClient, path: str) -> None:
    for method in ("DELETE", "POST", "GET"):
        response = await http.request(method, path, json={} if method == "POST" else None)
        assert 400 <= response.status_code < 500
        assert len(response.content) < 1000
        assert "x-header" not in response.headers


async def test_hostile_ids_of_sessions_and_sandboxes(http: httpx.AsyncClient) -> None:
    for name in ("X-Session-ID", "E2b-Sandbox-Id"):
        for value in (b"\xff\xfe", b"a" * 5000, b"..", b"' OR 1=1", b"\x7f"):
            body = {"generated_code": "1", "timeout": 5} if name == "X-Session-ID" else {"code": "1"}
            response = await http.post("/execute", json=body, headers=[(name.encode(), value)])
            assert response.status_code in (200, 400, 431, 502), (name, value, response.text)
            assert len(response.content) < 20_000
