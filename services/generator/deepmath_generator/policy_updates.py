"""What a trainer sends: adapters, and directories with checkpoints. Nothing is served before all of it is checked."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.adapter_upload import content, read_header, receive
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.vllm_engine import VllmEngine


class PolicyUpdates:
    """Takes changes of the policy, one upload at a time, and hands them to the engine."""

    def __init__(self, config: GeneratorConfig, engine: VllmEngine) -> None:
        self._engine = engine
        self.max_lora_rank: int = config.max_lora_rank if config.adapters else 0
        self._max_bytes = config.max_adapter_bytes
        self.checkpoint_root = Path(config.checkpoint_root).resolve() if config.checkpoint_root else None
        self._uploading = asyncio.Lock()

    async def update_adapter(self, requests: AsyncIterator[pb.UpdateAdapterRequest]) -> int:
        """Take an upload, serve it, and return its version.

        Raises:
            InvalidRequest: it is not whole, or does not fit the model.
            WrongOrder: its version is not new, or this generator takes no adapters.
            Overloaded: no room; come again.
            Unavailable: the engine has died.
        """
        if not self.max_lora_rank:
            raise WrongOrder("this generator takes no adapters: it was started with --no-adapters")
        header = await read_header(requests, self._max_bytes)
        if header.model != self._engine.model:
            raise InvalidRequest(
                f"the adapter is for the model {header.model!r}, and this generator serves {self._engine.model!r}"
            )
        version, said = header.policy_version, content(header)
        async with self._uploading:
            if self._engine.policies.is_current(version, said):
                return version
            folder = Path(tempfile.mkdtemp(prefix="deepmath-adapter-"))
            try:
                await receive(requests, header, folder)
                await self._engine.load_adapter(version, said, folder)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return version

    async def load_checkpoint(self, version: int, directory: str) -> None:
        """Serve the weights in `directory` as `version`.

        Raises:
            InvalidRequest: it does not lie below the root, or does not fit the model.
            WrongOrder: the version is not new, or this generator takes no checkpoints.
            Unavailable: the engine has died.
        """
        root = self.checkpoint_root
        if root is None:
            raise WrongOrder("this generator takes no checkpoints: start it with --checkpoint-root DIRECTORY")
        folder = (root / directory).resolve()
        if not directory or not folder.is_relative_to(root) or not folder.is_dir():
            raise InvalidRequest(f"{directory!r} is no directory below this generator's --checkpoint-root, {root}")
        if version < 1:
            raise InvalidRequest(f"policy_version is {version}; the first is 1, 0 is the model as loaded")
        if not self._engine.policies.is_current(version, str(folder)):
            await self._engine.load_checkpoint(version, folder)
