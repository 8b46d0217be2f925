"""The trajectories of batches that are not in a checkpoint yet, on disk as they end.

A trainer that is killed starts again from its last checkpoint and finds here what it had sampled since then: batches
that were whole are trained on once more without a word to the generators, which gives the same weights again; of a
batch under way only what is missing is sampled. One file a batch: serialized RolloutResponse messages, each after its
length in four bytes (big-endian); before them, in eight, what the run added to steps to make policy versions (`offset`
in Replicas), because a run that goes on may add something else. A torn last record is passed over.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from deepmath.generator.v1 import generator_pb2 as pb

_OFFSET = struct.Struct(">q")
_LENGTH = struct.Struct(">I")


class TrajectoryJournal:
    """A folder of batches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def open(self, batch: int, offset: int) -> "BatchJournal":
        """Return the journal of `batch`, with what an earlier process left there, its versions as with `offset`."""
        return BatchJournal(self._folder / f"batch-{batch:06}.bin", offset)

    def forget_before(self, batch: int) -> None:
        """Delete the batches below `batch`: a checkpoint holds what was learned from them."""
        for path in self._folder.glob("batch-*.bin"):
            if int(path.stem.removeprefix("batch-")) < batch:
                path.unlink()


class BatchJournal:
    """The trajectories of one batch by their id."""

    def __init__(self, path: Path, offset: int) -> None:
        self.found = {response.id: response for response in _read(path, offset)} if path.exists() else {}
        # Written anew, so that nothing follows a torn record.
        self._file: BinaryIO = path.open("wb")
        self._file.write(_OFFSET.pack(offset))
        for response in self.found.values():
            self.append(response)

    def append(self, response: pb.RolloutResponse) -> None:
        """Add a trajectory. It outlives this process when the call returns, though not the machine."""
        data = response.SerializeToString()
        self._file.write(_LENGTH.pack(len(data)) + data)
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path, offset: int) -> Iterator[pb.RolloutResponse]:
    data = path.read_bytes()
    if len(data) < _OFFSET.size:
        return
    (then,) = _OFFSET.unpack_from(data)
    at = _OFFSET.size
    while at + _LENGTH.size <= len(data):
        (length,) = _LENGTH.unpack_from(data, at)
        at += _LENGTH.size + length
        if at > len(data):
            return
        response = pb.RolloutResponse.FromString(data[at - length : at])
        for segment in response.trajectory.segments:
            segment.policy_version += offset - then
        yield response
