"""Policy updates from a trainer: uploaded adapters and checkpoint directories, validated before they are served."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from deepmath.access.caller_identity import proven_name
from deepmath.errors import InvalidRequest, Unavailable, WrongOrder
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.owned_folders import OwnedFolder
from deepmath_generator.adapter_upload import adapter_checksum, read_header, receive_files
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.inference_engine import InferenceEngine
from deepmath_generator.policy_versions import Policy
from deepmath_generator.request_validation import checked_run
from deepmath_generator.upload_slots import UploadSlots


class PolicyUpdates:
    """Receives policy updates and loads them into the engine.

    Uploads arrive beside each other, each within its own time, and are loaded one after another: a slow one delays
    nobody. The newest version that has arrived is served; an older one that arrives later is rejected.
    """

    def __init__(self, config: GeneratorConfig, engine: InferenceEngine) -> None:
        self._engine = engine
        self.max_lora_rank: int = config.max_lora_rank if config.adapters else 0
        self._max_bytes = config.max_adapter_bytes
        self.checkpoint_root = Path(config.checkpoint_root).resolve() if config.checkpoint_root else None
        self._upload_s = config.upload_seconds
        self._slots = UploadSlots()

    async def update_adapter(self, requests: AsyncIterator[pb.UpdateAdapterRequest]) -> int:
        """Receive an adapter, sample new segments with it, and return its version.

        Raises:
            InvalidRequest: The upload is incomplete or too slow, or the adapter does not fit the model.
            WrongOrder: The version is not new, the adapter is not for the weights that are loaded, or this generator
                accepts no adapters.
            Overloaded: Running segments use the maximum number of adapters, or too many uploads are in progress.
            Unavailable: The engine has died, or the disk is full.
        """
        if not self.max_lora_rank:
            raise WrongOrder("this generator accepts no adapters: it was started with --no-adapters")
        header = await read_header(requests, self._max_bytes)
        if header.model != self._engine.model:
            raise InvalidRequest(
                f"the adapter is for the model {header.model!r}, and this generator serves {self._engine.model!r}"
            )
        version, checksum, run = header.policy_version, adapter_checksum(header), checked_run(header.run)
        if self._engine.policies.has(Policy(version, checksum, run=run)):
            return version
        with self._slots.hold(proven_name()), _temporary_folder() as folder:
            await self._receive(requests, header, folder.path)
            await self._engine.load_adapter(version, checksum, folder.path, run)
        return version

    async def _receive(
        self, requests: AsyncIterator[pb.UpdateAdapterRequest], header: pb.AdapterHeader, folder: Path
    ) -> None:
        try:
            async with asyncio.timeout(self._upload_s):
                await receive_files(requests, header, folder)
        except TimeoutError:
            raise InvalidRequest(
                f"the adapter did not arrive within {self._upload_s:g} s; start the generator with a larger "
                "--upload-seconds for a slow network"
            ) from None
        except OSError as error:
            raise _cannot_store(error) from error

    async def load_checkpoint(self, version: int, directory: str, run: str) -> None:
        """Sample all segments with the weights in `directory`, as policy version `version` of `run`.

        Version 0 without a directory restores the model as loaded.

        Raises:
            InvalidRequest: The directory is not below the checkpoint root, or the checkpoint does not fit the model.
            WrongOrder: The version is not new, the run has lost its weights to another one, or this generator accepts
                no checkpoints.
            Unavailable: The engine has died.
        """
        root = self.checkpoint_root
        if root is None:
            raise WrongOrder("this generator accepts no checkpoints: start it with --checkpoint-root DIRECTORY")
        checked_run(run)
        if not version and not directory:
            await self._engine.restore_model(run)
            return
        folder = (root / directory).resolve()
        if not directory or not folder.is_relative_to(root) or not folder.is_dir():
            raise InvalidRequest(f"{directory!r} is not a directory below this generator's --checkpoint-root, {root}")
        if version < 1:
            raise InvalidRequest(f"policy_version is {version}; it must be at least 1, as 0 is the base model")
        if not self._engine.policies.has(Policy(version, str(folder), run=run)):
            await self._engine.load_checkpoint(version, folder, run)


def _temporary_folder() -> OwnedFolder:
    try:
        return OwnedFolder("deepmath-adapter")
    except OSError as error:
        raise _cannot_store(error) from error


def _cannot_store(error: OSError) -> Unavailable:
    return Unavailable(
        f"the generator cannot store the adapter in {tempfile.gettempdir()}: {error.strerror}; make room there, or set "
        "its TMPDIR"
    )
