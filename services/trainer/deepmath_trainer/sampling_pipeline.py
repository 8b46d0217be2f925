"""Sampling beside training: policies are published and batches sampled on a thread of their own.

    staleness 0   publish v0 │ sample 0 │ train 0 │ publish v1 │ sample 1 │ train 1 │ ...
    staleness 1   publish v0 │ sample 0 │ train 0             │ train 1   │ ...
                                        │ sample 1            │ publish v1, sample 2 │ ...

With staleness 1, batch i + 1 is sampled while batch i is trained on, hence by the policy before the newest. A policy is
published only between batches: each batch is sampled by one policy, which makes a resumed run repeat itself. For the
same reason a batch is started when the curriculum has observed the one before.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from deepmath_trainer.batch_sampler import BatchSampler
from deepmath_trainer.generator_replicas import GeneratorReplicas
from deepmath_trainer.pass_rates import PassCount
from deepmath_trainer.rollout_batch import RolloutBatch

Result = TypeVar("Result")


class SamplingPipeline:
    """Batches in order, for use by one thread.

    `temperature_at` returns the temperature of a batch, given its index.
    """

    def __init__(
        self,
        sampler: BatchSampler,
        replicas: GeneratorReplicas,
        *,
        batches: int,
        staleness: int,
        temperature_at: Callable[[int], float],
    ) -> None:
        self.sampler, self.replicas = sampler, replicas
        self.gather: Callable[[list[PassCount]], list[PassCount]] = list
        """Returns the counts of all processes, in the order of their ranks, given those of this one."""
        self._batches, self._staleness, self._temperature_at = batches, staleness, temperature_at
        self._pending: dict[int, Future[RolloutBatch]] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sampling", daemon=True)
        self._thread.start()

    def start(self, step: int) -> None:
        """Connect to the generators. The first policy to be published is that of optimizer step `step`.

        Raises:
            InvalidRequest: a generator does not fit the run.
            Unavailable: the generators were not ready in time.
        """
        self.run(self.replicas.start(step))

    def publish(self, policy: Path, step: int) -> None:
        """Send a policy to the generators and wait until they have loaded it."""
        self.run(self.replicas.publish(policy, step))

    @property
    def busy_seconds(self) -> float:
        """Seconds during which at least one generator worked for the run."""
        return self.sampler.busy.seconds

    def discard_before(self, batch: int) -> None:
        """Delete the journals of the batches below `batch`."""
        self.sampler.journal.discard_before(batch)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` on the sampling thread and wait for its result."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # the caller has been interrupted
            future.cancel()
            raise

    def next(self, index: int, policy: Callable[[], Path | None], step: int) -> RolloutBatch:
        """Return batch `index` and start the next one if staleness allows.

        `policy` writes the policy of optimizer step `step` and returns its folder, or None if it need not be published.
        It is called when the generators can load it.
        """
        if index not in self._pending:
            self.start_batch(index, policy(), step)
            policy = _no_policy
        batch = self._pending.pop(index).result()
        self.sampler.curriculum.observe(index, self.gather(batch.pass_counts))
        if self._staleness and index + 1 < self._batches:
            self.start_batch(index + 1, policy(), step)
        return batch

    def close(self) -> None:
        """Cancel what is being sampled and stop the thread."""
        for future in self._pending.values():
            future.cancel()
        self.run(self.replicas.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.sampler.close()

    def start_batch(self, index: int, policy: Path | None, step: int) -> None:
        """Start to sample batch `index`, after publishing `policy` of optimizer step `step` if one is given."""

        async def publish_and_sample() -> RolloutBatch:
            if policy is not None:
                await self.replicas.publish(policy, step)
            return await self.sampler.sample(index, self._temperature_at(index))

        self._pending[index] = asyncio.run_coroutine_threadsafe(publish_and_sample(), self._loop)


def _no_policy() -> None:
    return None
