"""MCP on the gateway: the SDK's own client, and vLLM's tool server, over SSE and streamable HTTP."""

import asyncio
import base64
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, TextContent

from deepmath.sandbox.png_image import is_png

TRANSPORTS = ("sse", "http")


@asynccontextmanager
async def connected(
    url: str, transport: str, headers: dict[str, str] | None = None, mode="auto"
) -> AsyncIterator[Client]:
    """Connect the SDK's client, as its users do."""
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        if transport == "sse":
            streams = sse_client(f"{url}/sse", headers=headers)
        else:
            streams = streamable_http_client(f"{url}/mcp", http_client=http)
        async with Client(streams, mode=mode) as client:
            yield client


async def python(client: Client, code: str, **options) -> str:
    """Run code and return the text of the result."""
    return text(await client.call_tool("python", {"code": code}, **options))


def text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_each_connection_has_its_session(gateway, transport: str, mode: str) -> None:
    async with connected(gateway.url, transport, mode=mode) as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["python", "cleanup_session"]
        assert await python(client, "x = 41") == ""
        assert await python(client, "print('a')\nx + 1") == "a\n42"
        async with connected(gateway.url, transport, mode=mode) as other:
            assert "NameError" in await python(other, "x")
        await client.call_tool("cleanup_session", {})
        assert "NameError" in await python(client, "x")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_named_session_outlives_its_connections(gateway, transport: str) -> None:
    mine = {"x-session-id": uuid.uuid4().hex}
    async with connected(gateway.url, transport, mine) as client:
        await python(client, "x = 41")
    async with connected(gateway.url, transport, mine) as client, connected(gateway.url, "sse", mine) as other:
        assert await python(client, "x = x + 1; x") == "42"
        assert await python(other, "x") == "42"
        await other.call_tool("cleanup_session", {})
        assert "NameError" in await python(client, "x")
    async with connected(gateway.url, transport, {"x-session-id": "x" * 200}) as client:
        assert (await client.call_tool("python", {"code": "1"})).is_error


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_session_ends_with_its_connection(gateway, executor, transport: str) -> None:
    before = (await executor.get_info()).load.live_sessions
    async with connected(gateway.url, transport) as client:
        await python(client, "x = 1")
        assert (await executor.get_info()).load.live_sessions == before + 1
    await until(executor, lambda load: load.live_sessions == before)


async def until(executor, holds: Callable[..., bool], seconds: float = 1.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds((await executor.get_info()).load):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)


SLEEP = "import time\ntime.sleep(15)"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelled_call_ends_the_sandbox(gateway, executor, transport: str) -> None:
    async with connected(gateway.url, transport) as client:
        await python(client, "x = 41")
        call = asyncio.create_task(python(client, SLEEP))
        await until(executor, lambda load: load.running_snippets, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(executor, lambda load: not load.running_snippets)
        assert await python(client, "x + 1") == "42"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_client_that_goes_away_ends_the_sandbox(gateway, executor, transport: str) -> None:
    """A connection that breaks during a call: no message says so."""
    headers = {"accept": "application/json, text/event-stream"}
    if transport == "http":
        session_id = await initialize(gateway)
        headers["mcp-session-id"] = session_id
        async with gateway.client(headers=headers) as http:
            call = asyncio.create_task(http.post("/mcp", json=tool_call(SLEEP)))
            await until(executor, lambda load: load.running_snippets, 10)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    else:
        async with gateway.client() as http, http.stream("GET", "/sse") as stream:
            lines = stream.aiter_lines()
            path = [await anext(lines) for _ in range(2)][1].removeprefix("data: ")
            for message in (INITIALIZE, INITIALIZED, tool_call(SLEEP)):
                assert (await http.post(path, json=message)).status_code == 202
            await until(executor, lambda load: load.running_snippets, 10)
    await until(executor, lambda load: not load.running_snippets)


INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


def tool_call(code: str) -> dict[str, object]:
    return {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": "python", "arguments": {"code": code}},
    }


async def initialize(gateway, key: str = "") -> str:
    """Open a connection over streamable HTTP and return its session id."""
    headers = {"accept": "application/json, text/event-stream"} | ({"x-api-key": key} if key else {})
    async with gateway.client(headers=headers) as http:
        opened = await http.post("/mcp", json=INITIALIZE)
        session_id = opened.headers["mcp-session-id"]
        http.headers["mcp-session-id"] = session_id
        assert (await http.post("/mcp", json=INITIALIZED)).status_code == 202
    return session_id


async def test_figures_are_images(plotting_gateway) -> None:
    async with connected(plotting_gateway.url, "http") as client:
        result = await client.call_tool("python", {"code": "import matplotlib.pyplot as plt\nplt.plot([1])\n2"})
    image = result.content[1]
    assert text(result) == "2"
    assert isinstance(image, ImageContent)
    assert is_png(base64.b64decode(image.data))


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_progress_is_reported(gateway, transport: str) -> None:
    reports: list[float] = []

    async def keep(progress: float, _: float | None, __: str | None) -> None:
        reports.append(progress)

    async with connected(gateway.url, transport) as client:
        await python(client, "import time\ntime.sleep(2.5)", progress_callback=keep)
    assert len(reports) >= 2


async def test_stateless_revision_is_refused_in_its_own_terms(gateway) -> None:
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": "2026-07-28"}
    async with gateway.client(headers=headers) as http:
        refused = await http.post("/mcp", json=tool_call("1"))
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == -32022
    assert "2025-06-18" in refused.json()["error"]["data"]["supported"]


async def test_infrastructure_failure_is_an_error_of_the_protocol(serve_gateway, tmp_path) -> None:
    async with (
        serve_gateway(executor=f"unix:{tmp_path}/nobody", executor_patience_s=0.5, listen="127.0.0.1:0") as broken,
        connected(broken.url, "http") as client,
    ):
        with pytest.raises(MCPError) as raised:
            await python(client, "1")
        assert raised.value.data["error"] == "Unavailable"


async def test_session_beyond_the_quota_is_refused_with_a_time_to_retry(serve_gateway, executor_address) -> None:
    async with (
        serve_gateway(executor=executor_address, max_sessions=1, listen="127.0.0.1:0") as small,
        connected(small.url, "http") as first,
        connected(small.url, "http") as second,
    ):
        assert await python(first, "1") == "1"
        with pytest.raises(MCPError) as raised:
            await python(second, "1")
        assert raised.value.data["error"] == "Overloaded"
        assert raised.value.data["retry_after_ms"] > 0
        assert await python(first, "2") == "2"
