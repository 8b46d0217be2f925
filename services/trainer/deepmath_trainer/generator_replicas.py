"""The generators of a run, all kept at one policy."""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from deepmath.clients import GeneratorClient
from deepmath.errors import InvalidRequest, Overloaded, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb

log = logging.getLogger(__name__)

_PAUSE_S = 1.0
_PATIENCE_S = 600.0  # without any generator; a big model takes minutes to load


@dataclass
class _Replica:
    client: GeneratorClient
    busy: int = 0
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class GeneratorReplicas:
    """One or many generators. Each has the policy of the run before anything is sampled from it.

    A policy is known by the optimizer step that made it. Generators want a version larger than every one before, from
    this run or another, so the step is told to them with `offset` added, chosen when the run starts: 0 where they are
    fresh, as version 0 is the model itself.
    """

    def __init__(self, addresses: list[str], adapters: bool = True) -> None:
        self._addresses = addresses
        self._adapters = adapters
        self._replicas: list[_Replica] = []
        self._policy: Path | None = None
        self.offset = 0
        self.step = 0

    async def start(self, step: int) -> None:
        """Choose the versions of a run that begins, or goes on, at optimizer step `step`. Call it once.

        Raises:
            Unavailable: a generator cannot be reached.
        """
        self._replicas = [_Replica(GeneratorClient(address)) for address in self._addresses]
        newest = [info.policy_version for info in await asyncio.gather(*(r.client.get_info() for r in self._replicas))]
        self.offset = max(newest) + 1 - step if any(newest) else 0
        self.step = step

    @property
    def version(self) -> int:
        """The policy version that is to sample."""
        return self.step + self.offset

    async def publish(self, policy: Path, step: int) -> None:
        """Make the policy in the folder `policy`, of optimizer step `step`, the one that samples.

        It goes to all replicas at once. One that cannot be reached gets it before it samples again.
        """
        self._policy, self.step = policy, step
        results = await asyncio.gather(*map(self._bring_up, self._replicas), return_exceptions=True)
        for result in results:
            if isinstance(result, Unavailable | Overloaded):
                log.warning("a generator did not take policy %d now: %s", self.version, result)
            elif isinstance(result, BaseException):
                raise result

    async def rollout(
        self, prompts: Iterable[pb.RolloutPrompt], temperature: float, mode: pb.Mode.ValueType, budget: pb.Budget
    ) -> list[pb.RolloutResponse]:
        """Return what came of `prompts` in one call to one replica: all trajectories, or those before it broke off.

        Raises:
            InvalidRequest: the generator refuses the request.
            Unavailable: no replica could be reached for a long time.
        """
        # Top-p and top-k off: probabilities that a sampler cut are not those of the loss.
        sampling = pb.Sampling(temperature=temperature, top_p=1.0, top_k=0)
        replica = await self._ready()
        replica.busy += 1
        responses = []
        try:
            async for response in replica.client.rollout(prompts, mode=mode, sampling=sampling, budget=budget):
                responses.append(response)
        except (Unavailable, Overloaded) as error:
            log.warning("a generator broke off: %s", error)
            await asyncio.sleep(_PAUSE_S)
        finally:
            replica.busy -= 1
        return responses

    async def close(self) -> None:
        """Close the channels."""
        await asyncio.gather(*(replica.client.close() for replica in self._replicas))

    async def _ready(self) -> _Replica:
        """Return the least busy replica that has the policy."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _PATIENCE_S
        while True:
            for replica in sorted(self._replicas, key=lambda replica: replica.busy):
                try:
                    await self._bring_up(replica)
                except (Unavailable, Overloaded) as error:
                    reason = error
                else:
                    return replica
            if loop.time() > end:
                raise Unavailable(f"no generator could be used for {_PATIENCE_S:.0f} s: {reason}")
            await asyncio.sleep(_PAUSE_S)

    async def _bring_up(self, replica: _Replica) -> None:
        """Give `replica` the policy if it has another, for one was restarted or was away."""
        async with replica.turn:
            info = await replica.client.get_info(deadline_s=2 * _PAUSE_S)
            if info.policy_version == self.version or (self._policy is None and info.policy_version == 0):
                return
            if self._policy is None:
                raise InvalidRequest(f"a generator is at policy {info.policy_version}, which is none of this run")
            if self._adapters:
                await replica.client.update_adapter(self._policy, self.version)
            else:
                await replica.client.load_checkpoint(self._policy, self.version)
