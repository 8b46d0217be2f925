"""Trajectories on disk as they end, for the batches that no checkpoint covers yet.

A trainer that is killed resumes from its last checkpoint and finds here what it had sampled since then. It trains once
more on the complete batches without any request to the generators, which gives the same weights again; of an incomplete
batch it samples only what is missing.

One file per batch, of length-prefixed protobuf messages: first an Int64Value with the run's `offset`
(`GeneratorReplicas`), because a resumed run may have another one, then a RolloutResponse for each trajectory. A torn
last message, as a killed trainer may leave it, is ignored.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.proto import (  # type: ignore[import-not-found]  # newer than its stubs
    parse_length_prefixed,
    serialize_length_prefixed,
)
from google.protobuf.wrappers_pb2 import Int64Value

from deepmath.generator.v1 import generator_pb2 as pb

Parsed = TypeVar("Parsed", bound=Message)


class TrajectoryJournal:
    """A folder of batches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, batch: int, offset: int) -> "BatchJournal":
        """Return the journal of `batch`, with the trajectories of an earlier process.

        Their policy versions are converted to this run's `offset`.
        """
        return BatchJournal(self._folder / f"batch-{batch:06}.binpb", offset)

    def discard_before(self, batch: int) -> None:
        """Delete the batches below `batch`: a checkpoint covers them."""
        for path in self._folder.glob("batch-*.bin*"):
            if int(path.stem.removeprefix("batch-")) < batch:
                path.unlink()


class BatchJournal:
    """The trajectories of one batch by their id."""

    def __init__(self, path: Path, offset: int) -> None:
        self.found = {response.id: response for response in _read(path, offset)} if path.exists() else {}
        # Rewritten, so that nothing follows a torn message.
        self._file: BinaryIO = path.open("wb")
        serialize_length_prefixed(Int64Value(value=offset), self._file)
        for response in self.found.values():
            self.append(response)

    def append(self, response: pb.RolloutResponse) -> None:
        """Add a trajectory. When this returns it survives the end of the process, though not that of the machine."""
        serialize_length_prefixed(response, self._file)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path, offset: int) -> Iterator[pb.RolloutResponse]:
    with path.open("rb") as file:
        written_with = _next(Int64Value, file)
        if written_with is None:
            return
        while (response := _next(pb.RolloutResponse, file)) is not None:
            for segment in response.trajectory.segments:
                segment.policy_version += offset - written_with.value
            yield response


def _next(kind: type[Parsed], file: BinaryIO) -> Parsed | None:
    """Return the next message; None at the end of the file or at a torn message."""
    try:
        message: Parsed | None = parse_length_prefixed(kind, file)
    except (DecodeError, EOFError, ValueError):
        return None
    return message
