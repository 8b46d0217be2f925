"""SandboxFusion's protocol: answers, refusals, and failures that are not the program's."""

import asyncio
import base64
import struct
import time
from typing import Any

import httpx
import pytest
from support.executor_process import Executor, kill, running

from .conftest import ServedGateway, ServeGateway

ENDLESS = "while True: pass"


async def run_code(http: httpx.AsyncClient, code: str, **request) -> dict[str, Any]:
    """Return the answer to a program."""
    response = await http.post("/run_code", json={"code": code, "language": "python"} | request)
    assert response.status_code == 200, response.text
    return response.json()


async def run_jupyter(http: httpx.AsyncClient, *cells: str, **request) -> dict[str, Any]:
    """Return the answer to a notebook."""
    response = await http.post("/run_jupyter", json={"cells": cells} | request)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.mark.parametrize(
    ("code", "status", "return_code", "stdout", "stderr"),
    [
        ("print(1)", "Success", 0, "1\n", ""),
        ("1 + 1", "Success", 0, "", ""),
        ("print(sum(map(int, input().split())))", "Success", 0, "6\n", ""),
        ("if __name__ == '__main__': print('main')", "Success", 0, "main\n", ""),
        ("import sys; print('e', file=sys.stderr)", "Success", 0, "", "e\n"),
        ("import sys; sys.exit(0)", "Success", 0, "", ""),
        ("import sys; print(1); sys.exit(3)", "Failed", 3, "1\n", ""),
        ("print(1)\n1 / 0", "Failed", 1, "1\n", "ZeroDivisionError: division by zero\n"),
        ("x = (", "Failed", 1, "", "SyntaxError: '(' was never closed\n"),
        ("import os", "Failed", 1, "", "may not be imported here"),
        ("x = bytearray(10 ** 12)", "Failed", 1, "", "MemoryError"),
        ("print('a' * 20_000_000)", "Failed", -9, None, "killed for too much output"),
        (ENDLESS, "Failed", None, "", "TimeoutError"),
    ],
)
async def test_a_program(
    http: httpx.AsyncClient, code: str, status: str, return_code: int | None, stdout: str | None, stderr: str
) -> None:
    answer = await run_code(http, code, stdin="1 2 3\n", run_timeout=1 if code == ENDLESS else 10)
    run = answer["run_result"]
    assert (answer["status"], run["return_code"]) == (status, return_code)
    assert run["status"] == ("TimeLimitExceeded" if return_code is None else "Finished")
    assert stdout is None or run["stdout"] == stdout
    assert run["stderr"] == stderr or (stderr and stderr in run["stderr"])
    assert run["execution_time"] < 10
    assert set(answer) == {"status", "message", "compile_result", "run_result", "executor_pod_name", "files"}


async def test_output_is_bounded_and_says_so(http: httpx.AsyncClient) -> None:
    run = (await run_code(http, "print('a' * 5_000_000)"))["run_result"]
    assert len(run["stdout"]) <= 256 << 10
    assert "bytes were cut out of the middle of the stdout" in run["stderr"]


async def test_programs_share_nothing(http: httpx.AsyncClient) -> None:
    await run_code(http, "import builtins; builtins.leak = 1")
    assert (await run_code(http, "leak"))["status"] == "Failed"


async def test_limits_above_the_executors_maximum_become_the_maximum(http: httpx.AsyncClient) -> None:
    answer = await run_code(http, "print(len(bytearray(600 << 20)))", run_timeout=1e300, memory_limit_MB=10**30)
    assert answer["run_result"]["stdout"] == f"{600 << 20}\n"


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"language": "cpp"}, "Python only"),
    ({"language": "x" * 10_000}, "Python only"),
    ({"files": {"a.txt": "eA=="}}, "no files"),
    ({"files": {"../../etc/passwd": "eA=="}}, "no files"),
    ({"fetch_files": ["a.txt"]}, "no files"),
    ({"run_timeout": 0}, "run_timeout"),
    ({"run_timeout": -1}, "run_timeout"),
    ({"run_timeout": "nan"}, "run_timeout"),
    ({"compile_timeout": "inf"}, "compile_timeout"),
    ({"memory_limit_MB": "many"}, "memory_limit_MB"),
    ({"code": None}, "code"),
    ({"code": 5}, "code"),
    ({"code": "a" * (300 << 10)}, "code"),
    ({"code": "\x00"}, "code"),
    ({"code": "1", "stdin": "a" * (600 << 10)}, "stdin"),
]


@pytest.mark.parametrize(
    ("request_", "reason"), REFUSED, ids=[next(iter(request.items()))[0] for request, _ in REFUSED]
)
async def test_a_request_that_cannot_be_served_is_refused(
    http: httpx.AsyncClient, request_: dict[str, Any], reason: str
) -> None:
    response = await http.post("/run_code", json={"code": "1", "language": "python"} | request_)
    assert response.status_code == 422
    assert reason in response.json()["detail"]
    assert len(response.text) < 1000


async def test_a_notebook(http: httpx.AsyncClient) -> None:
    answer = await run_jupyter(http, "a = 20", "a + 2", "print(1); 1 / 0", "print(a)")
    assert (answer["status"], answer["driver"]["status"], answer["driver"]["return_code"]) == ("Success", "Finished", 0)
    assert [cell["display"] for cell in answer["cells"]] == [[], [{"text/plain": "22"}], [], []]
    assert [cell["stdout"] for cell in answer["cells"]] == ["", "", "1\n", "20\n"]
    (error,) = answer["cells"][2]["error"]
    assert (error["ename"], error["evalue"]) == ("ZeroDivisionError", "division by zero")
    assert error["traceback"][-1] == "ZeroDivisionError: division by zero"


async def test_the_total_time_of_a_notebook_ends_it(http: httpx.AsyncClient) -> None:
    answer = await run_jupyter(
        http, "import time; time.sleep(0.6)", "time.sleep(30)", "print('never')", total_timeout=1
    )
    assert (answer["status"], answer["driver"]["status"]) == ("Failed", "TimeLimitExceeded")
    assert len(answer["cells"]) == 2


async def test_a_cell_may_reach_its_own_limit_and_the_next_runs(http: httpx.AsyncClient) -> None:
    answer = await run_jupyter(http, "a = 1", ENDLESS, "print(a)", cell_timeout=0.5, total_timeout=20)
    assert answer["status"] == "Success"
    assert answer["cells"][1]["error"][0]["ename"] == "TimeoutError"
    assert answer["cells"][2]["stdout"] == "1\n"


async def test_a_crash_ends_a_notebook(http: httpx.AsyncClient) -> None:
    answer = await run_jupyter(http, "print('a' * 20_000_000)", "print('never')")
    assert (answer["status"], answer["driver"]["return_code"]) == ("Failed", -9)
    assert len(answer["cells"]) == 1


async def test_the_outputs_of_a_notebook_are_bounded_together(http: httpx.AsyncClient) -> None:
    response = await http.post("/run_jupyter", json={"cells": ["print('a' * 300_000); 'b' * 300_000"] * 128})
    assert response.json()["status"] == "Success"
    assert len(response.content) < 9 << 20
    assert len(response.json()["cells"]) == 128
    too_many = await http.post("/run_jupyter", json={"cells": ["1"] * 129})
    assert too_many.status_code == 422


async def test_figures_of_a_notebook(plotting_gateway: ServedGateway) -> None:
    async with plotting_gateway.client() as http:
        draw = "import matplotlib.pyplot as plt\nfor n in range(2):\n  plt.figure(figsize=(1, n + 1)); plt.plot([1])\n7"
        answer = await run_jupyter(http, draw)
    *figures, value = answer["cells"][0]["display"]
    sizes = [struct.unpack_from("!II", base64.b64decode(figure["image/png"]), 16) for figure in figures]
    assert sizes == [(100, 100), (100, 200)]
    assert value == {"text/plain": "7"}


async def test_a_killed_executor_is_not_the_programs_fault(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path) as doomed,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.5) as served,
        served.client() as http,
    ):
        calls = [
            http.post("/run_code", json={"code": ENDLESS, "language": "python"}),
            http.post("/run_jupyter", json={"cells": [ENDLESS]}),
        ]
        tasks = [asyncio.create_task(call) for call in calls]
        await doomed.until(lambda load: load.live_sessions == 2)
        kill(doomed.pid)
        tasks.append(asyncio.create_task(http.post("/run_code", json={"code": "1", "language": "python"})))
        for response in await asyncio.gather(*tasks):
            assert (response.status_code, response.json()["status"]) == (200, "SandboxError")
            assert response.json()["message"]
            assert response.json().get("run_result") is None


async def test_overload_is_the_status_that_verl_retries(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path, "--max-sessions=1") as small,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.3) as served,
        served.client() as http,
    ):
        async with small.session() as session:
            await session.run("1")
            response = await http.post("/run_code", json={"code": "1", "language": "python"})
            assert response.status_code == 504
            assert int(response.headers["retry-after"]) >= 1
        assert (await run_code(http, "print(1)"))["status"] == "Success"


async def test_a_sandbox_ends_within_a_second_of_its_client(serve_gateway: ServeGateway, tmp_path) -> None:
    async with (
        running(tmp_path) as executor,
        serve_gateway(executor=f"unix:{tmp_path}/socket") as served,
        served.client() as http,
    ):
        calls: list[tuple[str, dict[str, Any]]] = [
            ("/run_code", {"code": ENDLESS, "language": "python"}),
            ("/run_jupyter", {"cells": ["1", ENDLESS]}),
        ]
        for path, body in calls:
            assert await _seconds_until_gone(executor, http, path, body) < 2  # a second, on a busy machine


async def _seconds_until_gone(executor: Executor, http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> float:
    call = asyncio.create_task(http.post(path, json=body))
    await executor.until(lambda load: load.running_snippets == 1)
    call.cancel()
    start = time.monotonic()
    await executor.until(lambda load: load.live_sessions == 0)
    return time.monotonic() - start
