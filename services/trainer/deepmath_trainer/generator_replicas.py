"""The generator replicas of a run, all kept at the same policy."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from deepmath.clients import GeneratorClient
from deepmath.errors import InvalidRequest, Overloaded, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_PATIENCE_S = 600.0  # without any generator; a large model takes minutes to load


@dataclass
class _Replica:
    client: GeneratorClient
    calls: int = 0
    update_lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class GeneratorReplicas:
    """One or more generators, each of which gets the policy of the run before it samples.

    A policy is identified by the optimizer step that made it. Generators require a version larger than all previous
    ones, from this run or another, so the version is the step plus `offset`, which is chosen when the run starts: 0 if
    the generators are fresh, as version 0 is the base model.
    """

    def __init__(self, addresses: list[str], adapters: bool = True) -> None:
        self._addresses = addresses
        self._adapters = adapters
        self._replicas: list[_Replica] = []
        self._policy: Path | None = None
        self.offset = 0
        self.step = 0

    async def start(self, step: int) -> None:
        """Choose the versions of a run that starts or resumes at optimizer step `step`. Call it once.

        Raises:
            Unavailable: a generator cannot be reached.
        """
        self._replicas = [_Replica(GeneratorClient(address)) for address in self._addresses]
        newest = [info.policy_version for info in await asyncio.gather(*(r.client.get_info() for r in self._replicas))]
        self.offset = max(newest) + 1 - step if any(newest) else 0
        self.step = step

    @property
    def version(self) -> int:
        """The policy version to sample with."""
        return self.step + self.offset

    async def publish(self, policy: Path, step: int) -> None:
        """Sample with the policy in the folder `policy`, of optimizer step `step`, from now on.

        It is sent to all replicas concurrently. One that cannot be reached gets it before it samples again.
        """
        self._policy, self.step = policy, step
        results = await asyncio.gather(*map(self._update, self._replicas), return_exceptions=True)
        for result in results:
            if isinstance(result, Unavailable | Overloaded):
                log.warning("a generator has not loaded policy %d yet: %s", self.version, result)
            elif isinstance(result, BaseException):
                raise result

    async def rollout(
        self, prompts: Iterable[pb.RolloutPrompt], temperature: float, mode: pb.Mode.ValueType, budget: pb.Budget
    ) -> list[pb.RolloutResponse]:
        """Return the trajectories of `prompts` from one call to one replica; only some if the call was interrupted.

        Raises:
            InvalidRequest: the generator rejects the request.
            Unavailable: no replica could be reached for ten minutes.
        """
        # Top-p and top-k off: truncated probabilities would not be those of the loss.
        sampling = pb.Sampling(temperature=temperature, top_p=1.0, top_k=0)
        replica = await self._ready()
        replica.calls += 1
        responses = []
        try:
            async for response in replica.client.rollout(prompts, mode=mode, sampling=sampling, budget=budget):
                responses.append(response)
        except (Unavailable, Overloaded) as error:
            log.warning("a rollout was interrupted: %s", error)
            await asyncio.sleep(_RETRY_S)
        finally:
            replica.calls -= 1
        return responses

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(replica.client.close() for replica in self._replicas))

    async def _ready(self) -> _Replica:
        """Return the replica with the fewest calls, after making sure that it has the policy."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE_S
        while True:
            for replica in sorted(self._replicas, key=lambda replica: replica.calls):
                try:
                    await self._update(replica)
                except (Unavailable, Overloaded) as error:
                    reason = error
                else:
                    return replica
            if loop.time() > end:
                raise Unavailable(f"no generator was available for {_PATIENCE_S:.0f} s: {reason}")
            await asyncio.sleep(_RETRY_S)

    async def _update(self, replica: _Replica) -> None:
        """Send the policy to `replica` if it has another one, because it was restarted or unreachable."""
        async with replica.update_lock:
            info = await replica.client.get_info(deadline_s=2 * _RETRY_S)
            if info.policy_version == self.version or (self._policy is None and info.policy_version == 0):
                return
            if self._policy is None:
                raise InvalidRequest(f"a generator serves policy version {info.policy_version}, not one of this run")
            if self._adapters:
                await replica.client.update_adapter(self._policy, self.version)
            else:
                await replica.client.load_checkpoint(self._policy, self.version)
