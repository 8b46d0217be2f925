"""`deepmath mcp`, driven by the MCP SDK's own client over its standard streams."""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, TextContent

from deepmath.clients import ExecutorClient
from deepmath.local_stack.stack import LocalStack
from deepmath.sandbox.png_image import is_png

COMMAND = "from deepmath.cli.main import main; main()"


@asynccontextmanager
async def connected(*options: str, mode: str = "auto") -> AsyncIterator[Client]:
    """Run `deepmath mcp` with `options` for a client that ends with the block."""
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", COMMAND, "mcp", *options], env=dict(os.environ)
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        yield client


@pytest.fixture(scope="module")
async def plots_executor() -> AsyncIterator[str]:
    async with LocalStack(arguments={"executor": ["--preload=plots"]}) as stack:
        yield stack.executor


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_code_runs_in_a_session_that_can_be_ended(plots_executor: str, mode: str) -> None:
    async with connected(f"--executor={plots_executor}", mode=mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools)[:2] == ["python", "cleanup_session"]
        assert tools["python"].input_schema["required"] == ["code"]
        first = await client.call_tool("python", {"code": "x = 41\nprint('a')\nx"})
        assert (text(first), first.is_error) == ("a\n41", False)
        assert first.structured_content
        assert first.structured_content["value"] == "41"
        assert text(await client.call_tool("python", {"code": "x + 1"})) == "42"
        assert not (await client.call_tool("cleanup_session", {})).is_error
        assert "NameError" in text(await client.call_tool("python", {"code": "x"}))


@pytest.fixture(scope="module")
async def client(plots_executor: str) -> AsyncIterator[Client]:
    """A client of one server; each test sets the variables that it reads."""
    ready, done = asyncio.Event(), asyncio.Event()
    clients: list[Client] = []

    async def hold() -> None:  # the SDK's client is left in the task that entered it
        async with connected(f"--executor={plots_executor}") as client:
            clients.append(client)
            ready.set()
            await done.wait()

    holder = asyncio.create_task(hold())
    await asyncio.wait([holder, asyncio.create_task(ready.wait())], return_when=asyncio.FIRST_COMPLETED)
    yield clients[0]
    done.set()
    await holder


@pytest.mark.parametrize(
    ("code", "shown", "outcome"),
    [
        ("", "", "OK"),
        ("print('a', end='')\n1", "a\n1", "OK"),
        ("1 / 0", "Traceback (most recent call last):", "EXCEPTION"),
        ("input()", "EOFError", "EXCEPTION"),
        ("import socket", "[POLICY_VIOLATION]", "POLICY_VIOLATION"),
        ("import random\nrandom._os._exit(1)", "[CRASHED; the variables of the session are lost]", "CRASHED"),
        ("print('x' * 100_000)", "bytes were cut from the middle of the output]", "OK"),
        ('print(\'{"jsonrpc": "2.0", "id": 1, "result": {}}\')', "jsonrpc", "OK"),
    ],
)
async def test_result_is_text_and_structured(client: Client, code: str, shown: str, outcome: str) -> None:
    result = await client.call_tool("python", {"code": code})
    assert shown in text(result)
    assert result.structured_content
    assert result.structured_content["outcome"] == outcome
    assert not result.is_error
    assert len(json.dumps(result.structured_content)) < 60_000


async def test_figures_are_images(client: Client) -> None:
    result = await client.call_tool("python", {"code": "import matplotlib.pyplot as plt\nplt.plot([1])\n2"})
    assert text(result) == "2"
    image = result.content[1]
    assert isinstance(image, ImageContent)
    assert is_png(base64.b64decode(image.data))


@pytest.mark.parametrize(
    ("tool", "arguments", "message"),
    [
        ("python", {}, "code: Field required"),
        ("python", {"code": 1}, "code: Input should be a valid string"),
        ("python", {"code": "1", "timeout": 1}, "timeout: Extra inputs are not permitted"),
        ("python", {"code": "#" * 300_000}, "bytes"),
        ("solve", {"question": ""}, "question: String should have at least 1 character"),
        ("solve", {"question": "1", "samples": 10**9}, "samples: Input should be less than or equal to 64"),
        ("cleanup_session", {"x": 1}, "x: Extra inputs are not permitted"),
    ],
)
async def test_mistake_in_a_call_is_a_result_that_says_so(client: Client, tool, arguments, message: str) -> None:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    assert message in text(result)


async def test_unknown_tool_is_an_error_of_the_protocol(client: Client) -> None:
    with pytest.raises(MCPError, match="no such tool"):
        await client.call_tool("shell", {"command": "ls"})


async def test_progress_is_reported_while_code_runs(client: Client) -> None:
    reports: list[float] = []

    async def keep(progress: float, total: float | None, message: str | None) -> None:
        assert (total, message) == (None, "running")
        reports.append(progress)

    code = "import time\ntime.sleep(2.5)"
    await client.call_tool("python", {"code": code}, progress_callback=keep)
    assert len(reports) >= 2
    assert reports == sorted(set(reports))


async def test_cancelled_call_ends_the_sandbox_and_keeps_the_variables(client: Client, plots_executor: str) -> None:
    await client.call_tool("python", {"code": "x = 41"})
    call = asyncio.create_task(client.call_tool("python", {"code": "x = 0\nimport time\ntime.sleep(15)"}))
    async with ExecutorClient(plots_executor) as executor:
        while not (await executor.get_info()).load.running_snippets:  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            while (await executor.get_info()).load.running_snippets:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    assert text(await client.call_tool("python", {"code": "x + 1"})) == "42"


async def test_infrastructure_failure_is_no_result(tmp_path) -> None:
    """A generator's address alone offers no `python`, and a generator that is not there is an error."""
    async with connected(f"--generator=unix:{tmp_path}/nobody") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["solve"]
        with pytest.raises(MCPError) as raised:
            await client.call_tool("solve", {"question": "What is 1 + 1?"})
        assert raised.value.data == {"error": "Unavailable"}


@pytest.mark.parametrize("end", ["close", signal.SIGTERM, signal.SIGINT])
async def test_server_ends_with_its_client_and_stops_what_it_started(end) -> None:
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, "mcp"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stdin
    assert server.stdout
    assert server.stderr
    for message in (
        {"id": 1, "method": "initialize", "params": initialization()},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": {"name": "python", "arguments": {"code": "6 * 7"}}},
    ):
        server.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
    async with asyncio.timeout(60):
        answers = [json.loads(await server.stdout.readline()) for _ in range(2)]
    assert answers[1]["result"]["structuredContent"]["value"] == "42"
    started = psutil.Process(server.pid).children(recursive=True)
    assert started
    if end == "close":
        server.stdin.close()
    else:
        server.send_signal(end)
    async with asyncio.timeout(20):
        assert await server.stdout.read() == b""
        assert await server.stderr.read() == b""
        await server.wait()
    assert psutil.wait_procs(started, timeout=10)[1] == []


def initialization() -> dict[str, object]:
    return {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
