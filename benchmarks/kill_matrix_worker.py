"""Worker of `kill_matrix`: a run's worker that halts at a given moment, and waits there to be killed or continued.

Moments are what it does next, as text: a change to a file of the run's folder as Python reports it to audit hooks
("rename checkpoints/checkpoint-4"), or one of the steps below ("after step 3").
"""

import os
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

_WRITING = os.O_WRONLY | os.O_RDWR
# The event's name in a moment, and the argument with the path that changes.
_CHANGES = {
    "os.rename": ("rename", 1),
    "os.remove": ("remove", 0),
    "os.truncate": ("truncate", 0),
    "os.mkdir": ("mkdir", 0),
    "shutil.rmtree": ("rmtree", 0),
    "shutil.copytree": ("copytree", 1),
}


class Moments:
    """The moments of a worker, in order. It halts before the first one that is `until`, if `until` is given."""

    def __init__(self, folder: Path, until: str | None, connection: Connection) -> None:
        self._folder, self._until, self._connection = f"{folder}/", until, connection
        self.seen: Counter[str] = Counter()

    def reach(self, moment: str) -> None:
        """Record a moment, and halt if it is the one."""
        self.seen[moment] += 1
        if moment == self._until:
            self._until = None
            self._connection.send(moment)
            self._until = self._connection.recv()

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Record a change of a file: an audit hook."""
        if event == "open":
            path, _, flags = arguments
            name = "write" if isinstance(flags, int) and flags & _WRITING else None
        elif event in _CHANGES:
            name, at = _CHANGES[event]
            path = arguments[at]
        else:
            return
        if name and isinstance(path, str | Path) and str(path).startswith(self._folder):
            self.reach(f"{name} {str(path).removeprefix(self._folder)}")


def train(folder: str, until: str | None, connection: Connection) -> None:
    """Train the run in `folder`, and send the moments that were passed at the end."""
    log = os.open(f"{folder}/worker.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (1, 2):
        os.dup2(log, stream)
    from deepmath_trainer.training_worker import main

    moments = Moments(Path(folder), until, connection)
    _instrument(moments)
    sys.addaudithook(moments.audit)
    status = main([folder])
    connection.send(list(moments.seen))
    sys.exit(status)


def _instrument(moments: Moments) -> None:
    """Add the moments at which no file changes."""
    from deepmath_trainer.generator_replicas import GeneratorReplicas
    from deepmath_trainer.run_folder import RunFolder

    from deepmath.clients import generator_client

    append_metrics, rollout, messages = RunFolder.append_metrics, GeneratorReplicas.rollout, generator_client._messages

    def halting_append(folder: RunFolder, step: int, metrics: Mapping[str, float]) -> None:
        append_metrics(folder, step, metrics)
        moments.reach(f"after step {step}")

    async def halting_rollout(replicas: GeneratorReplicas, prompts: Any, *arguments: Any, **options: Any) -> Any:
        responses = await rollout(replicas, prompts, *arguments, **options)
        evaluation = "." not in prompts[0].id  # those of a batch are GROUP.ATTEMPT.NUMBER
        moments.reach(f"{'evaluation' if evaluation else 'batch'} sampled by policy {replicas.step}")
        return responses

    async def halting_messages(directory: Path, header: Any) -> AsyncIterator[Any]:
        async for message in messages(directory, header):
            yield message
            moments.reach(f"upload of policy {header.policy_version}")

    RunFolder.append_metrics = halting_append  # type: ignore[method-assign]
    GeneratorReplicas.rollout = halting_rollout  # type: ignore[method-assign]
    generator_client._messages = halting_messages
