"""Trajectories on disk as they end, for the batches that no checkpoint covers yet.

A trainer that is killed resumes from its last checkpoint and finds here what it had sampled since then. It trains once
more on the complete batches without any request to the generators, which gives the same weights again; of an incomplete
batch it samples only what is missing.

One file per batch, of length-prefixed RolloutResponse messages. A torn last message, as a killed trainer may leave it,
is cut off.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from google.protobuf.proto import (  # type: ignore[import-not-found]  # newer than its stubs
    parse_length_prefixed,
    serialize_length_prefixed,
)

from deepmath.generator.v1 import generator_pb2 as pb


class TrajectoryJournal:
    """A folder of batches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, batch: int) -> "BatchJournal":
        """Return the journal of `batch`, with the trajectories of an earlier process."""
        return BatchJournal(self._folder / f"batch-{batch:06}.binpb")

    def discard_before(self, batch: int) -> None:
        """Delete the batches below `batch`: a checkpoint covers them."""
        for path in self._folder.glob("batch-*.bin*"):
            if int(path.stem.removeprefix("batch-")) < batch:
                path.unlink()


class BatchJournal:
    """The trajectories of one batch by their id."""

    def __init__(self, path: Path) -> None:
        self._file: BinaryIO = path.open("ab+")
        self._file.seek(0)
        self.found: dict[str, pb.RolloutResponse] = {}
        end = 0
        for response in _read(self._file):
            self.found[response.id], end = response, self._file.tell()
        self._file.truncate(end)

    def append(self, response: pb.RolloutResponse) -> None:
        """Add a trajectory. When this returns it survives the end of the process, though not that of the machine."""
        serialize_length_prefixed(response, self._file)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(file: BinaryIO) -> Iterator[pb.RolloutResponse]:
    """Yield the messages up to the end of the file, a torn one, or what a failure of the machine left instead."""
    while True:
        try:
            response: pb.RolloutResponse | None = parse_length_prefixed(pb.RolloutResponse, file)
        except (DecodeError, EOFError, ValueError, OverflowError, MemoryError):  # the last two: a length beyond reason
            return
        if response is None:
            return
        yield response
