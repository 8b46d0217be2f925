"""An adapter on its way in: a header, then chunks; into a private folder, every byte of it accounted for."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_FILES
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

_MAX_CHUNK_BYTES = 1 << 20
_MAX_CONFIG_BYTES = 1 << 20
_PATIENCE_S = 30.0  # for the next message: a client that went without a word holds up no other

Requests = AsyncIterator[pb.UpdateAdapterRequest]


async def read_header(requests: Requests, max_bytes: int) -> pb.AdapterHeader:
    """Return the header of an upload.

    Raises:
        InvalidRequest: it is not the first message, or its files are not an adapter's, or one has over `max_bytes`.
    """
    first = await _next(requests)
    if first is None or not first.HasField("header"):
        raise InvalidRequest("the first message of an upload has to be its header")
    header = first.header
    if header.policy_version < 1:
        raise InvalidRequest(f"header.policy_version is {header.policy_version}; the first is 1, 0 is the model itself")
    names = [file.name for file in header.files]
    if sorted(names) != sorted(ADAPTER_FILES):
        raise InvalidRequest(f"header.files has {names or 'nothing'}; it must have {' and '.join(ADAPTER_FILES)}")
    for file in header.files:
        most = _MAX_CONFIG_BYTES if file.name == ADAPTER_CONFIG else max_bytes
        if not 0 < file.size_bytes <= most:
            raise InvalidRequest(f"{file.name} has {file.size_bytes} bytes; from 1 to {most} are taken")
    return header


async def receive(requests: Requests, header: pb.AdapterHeader, folder: Path) -> None:
    """Write the files of the upload into `folder`.

    Raises:
        InvalidRequest: bytes are missing, too many, out of order, or not those that the header promised.
    """
    for index, file in enumerate(header.files):
        digest, left = hashlib.sha256(), file.size_bytes
        with (folder / file.name).open("wb") as written:
            while left:
                data = await _chunk(requests, index, file, left)
                left -= len(data)
                digest.update(data)
                await asyncio.to_thread(written.write, data)
        if digest.hexdigest() != file.sha256.lower():
            raise InvalidRequest(
                f"{file.name}: the SHA-256 of what came is {digest.hexdigest()}, and the header says {file.sha256}"
            )
    if await _next(requests) is not None:
        raise InvalidRequest("more came than the header promised")


def content(header: pb.AdapterHeader) -> str:
    """Return what tells the files of `header` from others."""
    return " ".join(sorted(f"{file.name}:{file.sha256.lower()}" for file in header.files))


async def _chunk(requests: Requests, index: int, file: pb.AdapterFile, left: int) -> bytes:
    request = await _next(requests)
    if request is None:
        raise InvalidRequest(f"{file.name}: {file.size_bytes - left} of its {file.size_bytes} bytes came")
    chunk = request.chunk
    if not request.HasField("chunk") or chunk.file_index != index:
        raise InvalidRequest(f"{file.name}: a chunk of it was due (file_index {index}); files come one after another")
    if not 0 < len(chunk.data) <= min(left, _MAX_CHUNK_BYTES):
        raise InvalidRequest(
            f"{file.name}: a chunk has {len(chunk.data)} bytes; 1 to {_MAX_CHUNK_BYTES}, and no more than the header "
            f"promised ({left} left), are taken"
        )
    return chunk.data


async def _next(requests: Requests) -> pb.UpdateAdapterRequest | None:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await anext(requests, None)
    except TimeoutError:
        raise InvalidRequest(f"nothing more of the upload came for {_PATIENCE_S:.0f} s; send it again") from None
