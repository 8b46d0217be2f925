"""The two models of OpenAI's API: the maths agent, and plain chat with the same weights."""

import asyncio
import time
from http import HTTPStatus
from typing import Any, Literal, NamedTuple

from deepmath.clients import GeneratorClient
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_gateway.protocol_errors import HttpRefusal

AGENT = "deepmath-agent"
"""Name of the agent. Plain chat has the name of the served model."""

ModelMode = Literal["agent", "chat"]

_FRESH_S = 5.0


class UnknownModel(HttpRefusal):
    """There is no model of the requested name."""

    def __init__(self, name: str, chat: str) -> None:
        shown = name[:200]
        super().__init__(
            HTTPStatus.NOT_FOUND,
            f"there is no model {shown!r}; the models are {AGENT!r} (which calls Python) and {chat!r} (plain chat)",
        )


class ServedModel(NamedTuple):
    """One of the two models."""

    mode: ModelMode
    info: pb.GetInfoResponse


class ServedModels:
    """The models of one generator, whose description is read again every few seconds."""

    def __init__(self, generator: GeneratorClient) -> None:
        self._generator = generator
        self._info: pb.GetInfoResponse | None = None
        self._read_at = 0.0
        self._lock = asyncio.Lock()

    async def find(self, name: str) -> ServedModel:
        """Return the model of this name.

        Raises:
            UnknownModel: There is none.
            Unavailable: The generator cannot be reached.
        """
        info = await self.read(_FRESH_S)
        if name not in (AGENT, info.model):
            info = await self.read(0.0)  # another model may be served by now
        if name == AGENT:
            return ServedModel("agent", info)
        if name != info.model:
            raise UnknownModel(name, info.model)
        return ServedModel("chat", info)

    async def cards(self) -> list[dict[str, Any]]:
        """Return the descriptions of both models, as they are now."""
        info = await self.read(0.0)
        return [_card(AGENT, "agent", info), _card(info.model, "chat", info)]

    async def read(self, fresh_s: float) -> pb.GetInfoResponse:
        """Return the generator's description, which was read in the last `fresh_s` seconds."""
        async with self._lock:
            if self._info is None or time.monotonic() - self._read_at > fresh_s:
                self._info, self._read_at = await self._generator.get_info(), time.monotonic()
            return self._info


def _card(name: str, mode: ModelMode, info: pb.GetInfoResponse) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": 0,  # unknown
        "owned_by": "deepmath",
        "root": info.model,
        "parent": None,
        "max_model_len": info.context_length,
        "mode": mode,
        "policy_version": info.policy_version,
        "policy_run": info.policy_run,
        "dialect": info.dialect,
    }
