"""A Jupyter front end: starts a kernel from its kernelspec and keeps every message of a cell."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

START_S = 90


@dataclass
class Cell:
    """A cell that has run."""

    reply: dict[str, Any]
    """The content of the `execute_reply`."""
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Type and content of each message on IOPub, without status and input."""

    @property
    def types(self) -> list[str]:
        return [kind for kind, _ in self.messages]

    def text(self, name: str) -> str:
        """Return what the stream `name` got."""
        return "".join(
            content["text"] for kind, content in self.messages if kind == "stream" and content["name"] == name
        )

    @property
    def value(self) -> str | None:
        return next(
            (content["data"]["text/plain"] for kind, content in self.messages if kind == "execute_result"), None
        )


class FrontEnd:
    """A kernel's manager and client. An asynchronous context manager."""

    def __init__(self, specs: Path, name: str = "deepmath") -> None:
        finder = KernelSpecManager(kernel_dirs=[str(specs)], ensure_native_kernel=False)
        self.manager = AsyncKernelManager(kernel_name=name, kernel_spec_manager=finder)

    async def __aenter__(self) -> Self:
        await self.manager.start_kernel()
        self.client = self.manager.client()
        self.client.start_channels()
        await self.client.wait_for_ready(timeout=START_S)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.client.stop_channels()
        await self.manager.shutdown_kernel()

    async def run(
        self, code: str, on_message: Callable[[str, dict[str, Any]], object] = lambda *_: None, **options: Any
    ) -> Cell:
        """Run a cell, and call `on_message` with each of its messages as it comes."""
        messages: list[tuple[str, dict[str, Any]]] = []

        def keep(message: dict[str, Any]) -> None:
            if message["msg_type"] not in ("status", "execute_input"):
                messages.append((message["msg_type"], message["content"]))
                on_message(*messages[-1])

        options = {"allow_stdin": False, "timeout": START_S, **options}
        reply = await self.client.execute_interactive(code, output_hook=keep, **options)
        return Cell(reply["content"], messages)

    async def ask(self, method: str, *arguments: Any) -> dict[str, Any]:
        """Make a request on the shell channel, such as `is_complete`, and return the content of the reply."""
        request = getattr(self.client, method)(*arguments)
        async with asyncio.timeout(START_S):
            while (reply := await self.client.get_shell_msg())["parent_header"].get("msg_id") != request:
                pass  # an answer to one of the requests by which a client waits for the start
        return reply["content"]

    async def interrupt(self) -> None:
        """Interrupt the kernel by a message, and wait for the reply."""
        self.client.control_channel.send(self.client.session.msg("interrupt_request", {}))
        async with asyncio.timeout(START_S):
            assert (await self.client.get_control_msg())["msg_type"] == "interrupt_reply"

    async def restart(self) -> None:
        await self.manager.restart_kernel()
        await self.client.wait_for_ready(timeout=START_S)
