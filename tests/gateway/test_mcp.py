"""MCP on the gateway: the SDK's own client, and vLLM's tool server, over SSE and streamable HTTP."""

import asyncio
import base64
import json
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from mcp import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, ImageContent, TextContent
from support.secured import add_token

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
async def test_session_ends_with_its_connection(gateway, gateway_executor_client, transport: str) -> None:
    before = (await gateway_executor_client.get_info()).load.live_sessions
    async with connected(gateway.url, transport) as client:
        await python(client, "x = 1")
        assert (await gateway_executor_client.get_info()).load.live_sessions == before + 1
    await until(gateway_executor_client, lambda load: load.live_sessions == before)


async def until(executor, holds: Callable[..., bool], seconds: float = 1.0) -> None:
    async with asyncio.timeout(seconds):
        while not holds((await executor.get_info()).load):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.02)


SLEEP = "import time\ntime.sleep(15)"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_cancelled_call_ends_the_sandbox(gateway, gateway_executor_client, transport: str) -> None:
    async with connected(gateway.url, transport) as client:
        await python(client, "x = 41")
        call = asyncio.create_task(python(client, SLEEP))
        await until(gateway_executor_client, lambda load: load.running_snippets, 10)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await until(gateway_executor_client, lambda load: not load.running_snippets)
        assert await python(client, "x + 1") == "42"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_client_that_goes_away_ends_the_sandbox(gateway, gateway_executor_client, transport: str) -> None:
    """A connection that breaks during a call: no message says so."""
    headers = {"accept": "application/json, text/event-stream"}
    if transport == "http":
        session_id = await initialize(gateway)
        headers["mcp-session-id"] = session_id
        async with gateway.client(headers=headers) as http:
            call = asyncio.create_task(http.post("/mcp", json=tool_call(SLEEP)))
            await until(gateway_executor_client, lambda load: load.running_snippets, 10)
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
    else:
        async with gateway.client() as http, http.stream("GET", "/sse") as stream:
            lines = stream.aiter_lines()
            path = [await anext(lines) for _ in range(2)][1].removeprefix("data: ")
            for message in (INITIALIZE, INITIALIZED, tool_call(SLEEP)):
                assert (await http.post(path, json=message)).status_code == 202
            await until(gateway_executor_client, lambda load: load.running_snippets, 10)
    await until(gateway_executor_client, lambda load: not load.running_snippets)


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


async def test_session_beyond_the_quota_is_refused_with_a_time_to_retry(serve_gateway, gateway_executor) -> None:
    async with (
        serve_gateway(executor=gateway_executor, max_sessions=1, listen="127.0.0.1:0") as small,
        connected(small.url, "http") as first,
        connected(small.url, "http") as second,
    ):
        assert await python(first, "1") == "1"
        with pytest.raises(MCPError) as raised:
            await python(second, "1")
        assert raised.value.data["error"] == "Overloaded"
        assert raised.value.data["retry_after_ms"] > 0
        assert await python(first, "2") == "2"


@pytest.fixture
async def shared_gateway(serve_gateway, gateway_executor: str, tmp_path) -> AsyncIterator[tuple[Any, dict[str, str]]]:
    """A gateway with three clients, and their keys. No generator is there."""
    tokens = tmp_path / "tokens.json"
    scopes = {"anna": ["execute"], "ben": ["execute"], "gina": ["generate"]}
    keys = {name: add_token(tokens, name, *given).read_text().strip() for name, given in scopes.items()}
    options = {"executor": gateway_executor, "generator": f"unix:{tmp_path}/nobody", "listen": "127.0.0.1:0"}
    async with serve_gateway(tokens=tokens, **options) as served:
        yield served, keys


async def test_sessions_of_others_do_not_exist(shared_gateway) -> None:
    served, keys = shared_gateway
    session_id = await initialize(served, keys["anna"])
    for name, status in (("anna", 200), ("ben", 404)):
        headers = {
            "accept": "application/json, text/event-stream",
            "x-api-key": keys[name],
            "mcp-session-id": session_id,
        }
        async with served.client(headers=headers) as http:
            assert (await http.post("/mcp", json=tool_call("1"))).status_code == status
            guessed = await http.post("/mcp", json=tool_call("1"), headers={"mcp-session-id": uuid.uuid4().hex})
            assert guessed.status_code == 404
    headers = {"x-api-key": keys["anna"]}
    async with served.client(headers=headers) as http, http.stream("GET", "/sse") as stream:
        lines = stream.aiter_lines()
        path = [await anext(lines) for _ in range(2)][1].removeprefix("data: ")
        for name, status in (("anna", 202), ("ben", 404)):
            posted = await http.post(path, json=INITIALIZE, headers={"x-api-key": keys[name]})
            assert posted.status_code == status


async def test_equal_names_of_two_clients_are_two_sessions(shared_gateway) -> None:
    served, keys = shared_gateway
    anna, ben = ({"x-session-id": "mine", "authorization": f"Bearer {keys[name]}"} for name in ("anna", "ben"))
    async with connected(served.url, "http", anna) as first, connected(served.url, "sse", ben) as second:
        await python(first, "x = 1")
        assert "NameError" in await python(second, "x")


async def test_tools_are_those_of_the_scopes(shared_gateway) -> None:
    served, keys = shared_gateway
    for name, tools in {"anna": ["python", "cleanup_session"], "gina": ["solve"]}.items():
        async with connected(served.url, "http", {"x-api-key": keys[name]}) as client:
            assert [tool.name for tool in (await client.list_tools()).tools] == tools
    async with connected(served.url, "http", {"x-api-key": keys["gina"]}) as client:
        with pytest.raises(MCPError, match="no such tool"):
            await python(client, "1")
    async with served.client() as http:
        refused = await http.post("/mcp", json=INITIALIZE)
        assert refused.status_code == 401
        assert "missing API key" in refused.json()["error"]["message"]


async def test_maths_agent_is_a_tool(full_gateway) -> None:
    arguments = {"question": "What is 12 * 34?", "samples": 3, "seed": 1}
    async with connected(full_gateway.url, "http") as client:
        assert [tool.name for tool in (await client.list_tools()).tools] == ["python", "cleanup_session", "solve"]
        result = await client.call_tool("solve", arguments)
    solved = result.structured_content
    assert solved
    assert len(solved["samples"]) == 3
    assert all(sample["status"] != "INFRASTRUCTURE_FAILED" for sample in solved["samples"])
    assert "Votes of 3 samples" in text(result)
    assert solved["answer"] in text(result)


@pytest.mark.vllm
async def test_vllms_tool_server(gateway) -> None:
    from vllm.entrypoints.mcp.tool_server import MCPToolServer

    tools = MCPToolServer()
    await tools.add_tool_server(gateway.server.address)
    assert tools.has_tool("python")
    description = tools.get_tool_description("python")
    assert description
    assert description.tools == []  # gpt-oss knows its tool `python`
    first, second = uuid.uuid4().hex, uuid.uuid4().hex
    async with tools.new_session("python", first) as session:
        assert (await session.call_tool("python", {"code": "x = 20; x"})).content[0].text == "20"
    async with tools.new_session("python", first) as session, tools.new_session("python", second) as other:
        assert (await session.call_tool("python", {"code": "print(x + 2)"})).content[0].text == "22"
        assert "NameError" in (await other.call_tool("python", {"code": "x"})).content[0].text
        await session.call_tool("cleanup_session", {})
        assert "NameError" in (await session.call_tool("python", {"code": "x"})).content[0].text


@pytest.mark.vendors
async def test_langchains_adapters(gateway, gateway_executor: str, vendor_environment) -> None:
    server = (
        sys.executable,
        "-c",
        "from deepmath.cli.main import main; main()",
        "mcp",
        f"--executor={gateway_executor}",
    )
    script = ("langchain_mcp_client.py", f"{gateway.url}/sse", f"{gateway.url}/mcp", *server)
    seen = json.loads(await vendor_environment("langchain_mcp").run(*script))
    assert seen.keys() == {"sse", "http", "stdio"}
    for used in seen.values():
        assert {"python", "cleanup_session"} <= set(used["tools"])
        assert (used["value"], used["status"]) == ("hello\n42", "success")
        assert "ZeroDivisionError: division by zero" in used["failed"]
        assert used["structured"]["value"] == "42"
