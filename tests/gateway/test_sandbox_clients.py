"""The clients of the sandbox protocols, as their vendors ship them."""

import asyncio
import base64
import json
import os

import pytest
from support.executor_process import running
from support.secured import add_token

from .conftest import ServedGateway, ServeGateway

pytestmark = pytest.mark.vendors
NEMO_SKILLS = "DEEPMATH_TEST_NEMO_SKILLS"


def e2b_at(url: str, key: str = "e2b_none") -> dict[str, str]:
    return {"E2B_API_URL": url, "E2B_SANDBOX_URL": url, "E2B_API_KEY": key}


@pytest.fixture
def sandboxes(vendor_environment):
    return vendor_environment("sandboxes")


@pytest.fixture
def verl(vendor_environment):
    return vendor_environment("verl")


async def test_sandbox_fusions_client(gateway: ServedGateway, sandboxes) -> None:
    seen = json.loads(await sandboxes.run("sandbox_fusion_client.py", gateway.url, "programs"))
    assert seen["stdin"]["run_result"]["stdout"] == "5\n"
    assert (seen["exit"]["status"], seen["exit"]["run_result"]["return_code"]) == ("Failed", 3)
    assert seen["timeout"]["run_result"]["status"] == "TimeLimitExceeded"
    assert seen["timeout"]["run_result"]["stdout"] == "1\n"
    assert "Python only" in seen["language"]["error"]
    assert "no files" in seen["files"]["error"]
    assert [cell["display"] for cell in seen["jupyter"]["cells"]] == [[], [{"text/plain": "22"}], [], []]
    assert seen["jupyter"]["cells"][3]["stdout"] == "20\n"
    assert seen["hundred"] == [f"{n}\n" for n in range(100)]


async def test_verls_client(gateway: ServedGateway, verl) -> None:
    """True and False are the program's answers, -2 its exceptions, -3 its timeouts; -1 is never its fault."""
    seen = json.loads(await verl.run("verl_client.py", f"{gateway.url}/run_code", "judge"))
    assert seen == {
        "echo": [True, False],
        "function": [True],
        "exception": [-2],
        "timeout": [-3],
        "language": [-1],
        "score": 1.0,
    }


async def test_clients_without_a_key_header_send_it_in_the_address(
    serve_gateway: ServeGateway, gateway_executor: str, tmp_path, sandboxes, verl
) -> None:
    key = add_token(tmp_path / "tokens.toml", "verl", "execute").read_text().strip()
    async with serve_gateway(executor=gateway_executor, tokens=tmp_path / "tokens.toml") as served:
        address = served.url.replace("//", f"//:{key}@")
        called = json.loads(await verl.run("verl_client.py", f"{address}/run_code", "call"))
        assert called["answer"]["run_result"]["stdout"] == "5\n"
        refused = json.loads(await verl.run("verl_client.py", f"{served.url}/run_code", "call"))
        assert "401" in refused["error"]
        run = json.loads(await sandboxes.run("sandbox_fusion_client.py", address, "retried"))
        assert run["status"] == "Success"


async def test_clients_retry_an_overloaded_gateway(serve_gateway: ServeGateway, tmp_path, sandboxes, verl) -> None:
    """The one session of the executor is in use until each client has been refused, and free when it tries again."""
    async with (
        running(tmp_path, "--max-sessions=1") as small,
        serve_gateway(executor=f"unix:{tmp_path}/socket", executor_patience_s=0.2) as served,
    ):
        scripts = [
            (verl, "verl_client.py", f"{served.url}/run_code", "call"),
            (sandboxes, "sandbox_fusion_client.py", served.url, "retried"),
        ]
        for environment, *arguments in scripts:
            refusals = _refusals(served)
            async with small.session() as session:
                await session.run("1")
                call = asyncio.create_task(environment.run(*arguments))
                async with asyncio.timeout(60):
                    while _refusals(served) == refusals:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
            seen = json.loads(await call)
            assert (seen.get("answer") or seen)["status"] == "Success"


def _refusals(served: ServedGateway) -> float:
    registry = served.gateway.metrics.registry
    labels = {"protocol": "sandbox-fusion", "status": "5xx"}
    return registry.get_sample_value("deepmath_gateway_requests_total", labels) or 0.0


async def test_clients_of_a_killed_executor(serve_gateway: ServeGateway, tmp_path, sandboxes, verl) -> None:
    """No client books the failure as the program's."""
    async with running(tmp_path) as executor:
        address = f"unix:{tmp_path}/socket"
        executor.process.kill()
        await executor.process.wait()
    async with serve_gateway(executor=address, executor_patience_s=0.2) as served:
        booked = json.loads(await verl.run("verl_client.py", f"{served.url}/run_code", "call"))
        assert booked["answer"]["status"] == "SandboxError"  # of which verl makes -1
        name, message = json.loads(await sandboxes.run("e2b_client.py", "create", env=e2b_at(served.url)))
        assert (name, message[:3]) == ("ServiceBusyException", "503")


async def test_e2bs_sdk(gateway: ServedGateway, sandboxes) -> None:
    seen = json.loads(await sandboxes.run("e2b_client.py", "tour", env=e2b_at(gateway.url)))
    assert seen["first"] == {
        "text": "22",
        "stdout": ["hello\u2028there\n"],
        "stderr": [],
        "error": None,
        "formats": [["text"]],
        "count": 2,
    }
    assert seen["string"] == "text"
    assert seen["error"]["error"][:2] == ["ZeroDivisionError", "division by zero"]
    assert seen["other context"]["error"][0] == seen["restarted"]["error"][0] == "NameError"
    assert seen["contexts"] == 2
    assert seen["refused"]["context"][0] == "NotFoundException"
    assert seen["refused"]["template"][1].startswith("404")
    for name, reason in {
        "language": "Python only",
        "context language": "Python only",
        "folder": "no files",
        "environment": "no environment variables",
        "upload": "files cannot be uploaded",
        "download": "no files",
        "command": "Python only",
        "pause": "Python only",
    }.items():
        kind, text = seen["refused"][name]
        assert kind == "SandboxException", name
        assert reason in text, name
    assert (seen["info"], seen["listed"], seen["connected"]) == ({"who": "tour"}, True, "20")
    assert seen["running"] == [True, True, False, False]
    assert seen["killed"][0] == "TimeoutException"  # the SDK's exception for a sandbox that is gone
    assert seen["async"] == [str(number**2) for number in range(8)]


async def test_e2bs_sdk_with_a_key_and_in_debug_mode(
    serve_gateway: ServeGateway, gateway_executor: str, gateway: ServedGateway, tmp_path, sandboxes
) -> None:
    key = add_token(tmp_path / "tokens.toml", "e2b", "execute").read_text().strip()
    async with serve_gateway(executor=gateway_executor, tokens=tmp_path / "tokens.toml") as served:
        seen = json.loads(await sandboxes.run("e2b_client.py", "tour", env=e2b_at(served.url, key)))
        assert seen["connected"] == "20"
        name, _ = json.loads(await sandboxes.run("e2b_client.py", "create", env=e2b_at(served.url, "wrong")))
        assert name == "AuthenticationException"
    debug = {"E2B_DEBUG": "true", "E2B_SANDBOX_URL": gateway.url}
    assert json.loads(await sandboxes.run("e2b_client.py", "debug", env=debug))["text"] == "2"


async def test_e2bs_sdk_shows_figures(plotting_gateway: ServedGateway, sandboxes) -> None:
    seen = json.loads(await sandboxes.run("e2b_client.py", "figure", env=e2b_at(plotting_gateway.url)))
    assert seen["formats"] == [["png", "text"], ["text"]]
    assert base64.b64decode(seen["png"]).startswith(b"\x89PNG")


async def test_nemo_skills_client(gateway: ServedGateway, vendor_environment) -> None:
    """It is on no package index: the test needs a checkout of github.com/NVIDIA-NeMo/Skills."""
    checkout = os.environ.get(NEMO_SKILLS)
    if not checkout:
        pytest.skip(f"set {NEMO_SKILLS} to the absolute path of a checkout of github.com/NVIDIA-NeMo/Skills")
    host, port = gateway.server.address.split(":")
    environment = vendor_environment("nemo_skills")
    seen = json.loads(await environment.run("nemo_skills_client.py", host, port, env={"PYTHONPATH": checkout}))
    statuses = ["completed", "completed", "completed", "error", "timeout", "completed", "completed"]
    assert [answer["process_status"] for answer in seen] == statuses
    assert [answer["stdout"] for answer in seen[:3]] == ["1\n4\n", "", "22\n"]
    assert seen[5]["stdout"] == "23\n"  # the client has replayed the session
    assert seen[6]["stdout"] == "5\n"
