"""Upload of an adapter: a header, then the files in chunks, verified by length and SHA-256."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_FILES
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

_MAX_CHUNK_BYTES = 1 << 20
_MAX_CONFIG_BYTES = 1 << 20
_MESSAGE_TIMEOUT_S = 30.0  # between two messages: a client that disappeared must not block other uploads

Requests = AsyncIterator[pb.UpdateAdapterRequest]


async def read_header(requests: Requests, max_bytes: int) -> pb.AdapterHeader:
    """Return the header of an upload whose weights have at most `max_bytes`.

    Raises:
        InvalidRequest: The first message is not a header, or the header lists other files or sizes.
    """
    first = await _next(requests)
    if first is None or not first.HasField("header"):
        raise InvalidRequest("the first message of an upload must be its header")
    header = first.header
    if header.policy_version < 1:
        raise InvalidRequest(
            f"header.policy_version is {header.policy_version}; it must be at least 1, as 0 is the base model"
        )
    names = [file.name for file in header.files]
    if sorted(names) != sorted(ADAPTER_FILES):
        raise InvalidRequest(f"header.files has {names or 'nothing'}; it must have {' and '.join(ADAPTER_FILES)}")
    for file in header.files:
        maximum = _MAX_CONFIG_BYTES if file.name == ADAPTER_CONFIG else max_bytes
        if not 0 < file.size_bytes <= maximum:
            raise InvalidRequest(f"{file.name} has {file.size_bytes} bytes; the size must be from 1 to {maximum}")
    return header


async def receive_files(requests: Requests, header: pb.AdapterHeader, folder: Path) -> None:
    """Write the uploaded files into `folder`.

    Raises:
        InvalidRequest: Data is missing, excessive, out of order, or differs from the header's checksums.
    """
    for index, file in enumerate(header.files):
        digest, remaining = hashlib.sha256(), file.size_bytes
        with (folder / file.name).open("wb") as written:
            while remaining:
                data = await _read_chunk(requests, index, file, remaining)
                remaining -= len(data)
                digest.update(data)
                await asyncio.to_thread(written.write, data)
        if digest.hexdigest() != file.sha256.lower():
            raise InvalidRequest(
                f"{file.name}: the SHA-256 of the received data is {digest.hexdigest()}, the header has {file.sha256}"
            )
    if await _next(requests) is not None:
        raise InvalidRequest("the upload has more data than its header announced")


def adapter_checksum(header: pb.AdapterHeader) -> str:
    """Return a string that identifies the content of the files in `header`."""
    return " ".join(sorted(f"{file.name}:{file.sha256.lower()}" for file in header.files))


async def _read_chunk(requests: Requests, index: int, file: pb.AdapterFile, remaining: int) -> bytes:
    request = await _next(requests)
    if request is None:
        raise InvalidRequest(
            f"{file.name}: the upload ended after {file.size_bytes - remaining} of {file.size_bytes} bytes"
        )
    chunk = request.chunk
    if not request.HasField("chunk") or chunk.file_index != index:
        raise InvalidRequest(f"{file.name}: expected a chunk with file_index {index}; files must be sent in order")
    if not 0 < len(chunk.data) <= min(remaining, _MAX_CHUNK_BYTES):
        raise InvalidRequest(
            f"{file.name}: a chunk has {len(chunk.data)} bytes; it must have from 1 to {_MAX_CHUNK_BYTES} and at most "
            f"the {remaining} that remain of the announced size"
        )
    return chunk.data


async def _next(requests: Requests) -> pb.UpdateAdapterRequest | None:
    try:
        async with asyncio.timeout(_MESSAGE_TIMEOUT_S):
            return await anext(requests, None)
    except TimeoutError:
        raise InvalidRequest(
            f"the upload stalled: no message for {_MESSAGE_TIMEOUT_S:.0f} s; send the adapter again"
        ) from None
