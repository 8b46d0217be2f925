"""langchain-mcp-adapters: `langchain_mcp_client.py SSE_URL HTTP_URL COMMAND ...`; prints JSON for each transport."""

import asyncio
import json
import sys
from typing import Any

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools


async def use(client: MultiServerMCPClient, name: str) -> dict[str, Any]:
    """Use the tools of a server in one session."""
    async with client.session(name) as session:
        tools = {tool.name: tool for tool in await load_mcp_tools(session)}
        call = {"id": "1", "type": "tool_call", "name": "python"}
        await tools["python"].ainvoke({**call, "args": {"code": "x = 41"}})
        value = await tools["python"].ainvoke({**call, "args": {"code": "print('hello')\nx + 1"}})
        failed = await tools["python"].ainvoke({**call, "args": {"code": "1 / 0"}})
        return {
            "tools": sorted(tools),
            "value": text(value),
            "status": value.status,
            "failed": text(failed),
            "structured": value.artifact["structured_content"],
        }


def text(message: Any) -> str:
    """Return the text of a tool's message."""
    content = message.content
    return content if isinstance(content, str) else "".join(block["text"] for block in content)


async def main(sse: str, http: str, command: str, *arguments: str) -> None:
    """Use the server over each transport."""
    client = MultiServerMCPClient(
        {
            "sse": {"transport": "sse", "url": sse},
            "http": {"transport": "streamable_http", "url": http},
            "stdio": {"transport": "stdio", "command": command, "args": list(arguments)},
        }
    )
    print(json.dumps({name: await use(client, name) for name in ("sse", "http", "stdio")}))


asyncio.run(main(*sys.argv[1:]))
