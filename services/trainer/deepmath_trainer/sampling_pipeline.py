"""Sampling beside training: the policy goes out and batches come in on a thread of their own.

    staleness 0   publish v0 │ sample 0 │ train 0 │ publish v1 │ sample 1 │ train 1 │ ...
    staleness 1   publish v0 │ sample 0 │ train 0             │ train 1   │ ...
                                        │ sample 1            │ publish v1, sample 2 │ ...

With staleness 1 batch i + 1 is sampled while batch i is trained on, so by the policy before the newest. A policy is
published only between batches: each batch is sampled by one policy, which makes a run that is resumed repeat itself.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.rollout_batches import Batch, RolloutBatches

Result = TypeVar("Result")


class SamplingPipeline:
    """Batches in turn. For use by one thread; `temperature_at` gives the temperature of a batch."""

    def __init__(
        self,
        rollouts: RolloutBatches,
        replicas: GeneratorReplicas,
        *,
        batches: int,
        staleness: int,
        temperature_at: Callable[[int], float],
    ) -> None:
        self.rollouts, self.replicas = rollouts, replicas
        self._batches, self._staleness, self._temperature_at = batches, staleness, temperature_at
        self._pending: dict[int, Future[Batch]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rollouts", daemon=True)
        self._thread.start()

    def start(self, step: int) -> None:
        """Reach the generators. The first policy that is published will be that of optimizer step `step`.

        Raises:
            Unavailable: one cannot be reached.
        """
        self.run(self.replicas.start(step))

    def publish(self, policy: Path, step: int) -> None:
        """Give the generators a policy and wait until they have it."""
        self.run(self.replicas.publish(policy, step))

    @property
    def busy_seconds(self) -> float:
        """Seconds in which a generator was at work for us."""
        return self.rollouts.busy.seconds

    @property
    def fresh(self) -> bool:
        """Whether the generators have no policy but the model itself."""
        return self.replicas.offset == 0

    def forget_before(self, batch: int) -> None:
        """Drop what is kept of batches below `batch`."""
        self.rollouts.journal.forget_before(batch)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` on the thread of the rollouts and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def next(self, index: int, policy: Callable[[], Path | None], step: int) -> Batch:
        """Return batch `index`, and see to it that the next one is begun in time.

        `policy` writes the policy of optimizer step `step` and returns its folder, or None where it need not be
        published; it is called when the generators can take it.
        """
        if index not in self._pending:
            self.begin(index, policy(), step)
            policy = _nothing
        batch = self._pending.pop(index).result()
        if self._staleness and index + 1 < self._batches:
            self.begin(index + 1, policy(), step)
        return batch

    def close(self) -> None:
        """Give up what is under way and end the thread."""
        for future in self._pending.values():
            future.cancel()
        self.run(self.replicas.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self.rollouts.close()

    def begin(self, index: int, policy: Path | None, step: int) -> None:
        """Begin to sample batch `index`, once the generators have `policy`, of `step`, where one is given."""

        async def publish_and_sample() -> Batch:
            if policy is not None:
                await self.replicas.publish(policy, step)
            return await self.rollouts.batch(index, self._temperature_at(index))

        self._pending[index] = asyncio.run_coroutine_threadsafe(publish_and_sample(), self._loop)


def _nothing() -> None:
    return None
