"""The generator replicas of a run, all kept at the same policy."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from deepmath.clients import GeneratorClient
from deepmath.errors import (
    Forbidden,
    InvalidRequest,
    Overloaded,
    TlsMismatch,
    Unauthenticated,
    Unavailable,
    WrongOrder,
)
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_trainer.replica_addresses import ReplicaAddress, is_name, resolve_replicas
from deepmath_trainer.wait_progress import WaitProgress

log = logging.getLogger(__name__)

_RETRY_S = 1.0
_INFO_S = 3.0
_RESOLVE_S = 5.0  # between resolutions of a name
_DENIED = (TlsMismatch, Unauthenticated, Forbidden)

Result = TypeVar("Result")


def _do_nothing(*_: object) -> None:
    pass


@dataclass
class _Replica:
    client: GeneratorClient
    calls: int = 0
    failing: bool = False
    retired: bool = False
    """Whether its address is no longer one of the run's; it is closed after its last call."""
    update_lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @contextmanager
    def call(self) -> Iterator[GeneratorClient]:
        """Count a call."""
        self.calls += 1
        try:
            yield self.client
        finally:
            self.calls -= 1


class GeneratorReplicas:
    """One or more generators, each of which gets the policy of the run before it samples.

    Every address behind a configured one is a replica. Names are resolved again while the run lasts: a new replica gets
    the policy before it samples, and one that is gone finishes its calls.

    `run` identifies the run's policies at the generators; version N is that of optimizer step N, and 0 the model as
    loaded. Each rollout names its policy, and is rejected by a generator that does not have it. So neither an earlier
    run, nor another one at the same time, nor a restart of the generator changes what samples a batch. A worker that
    resumes a run needs another `run`: its policies are not those that a killed one may have sent after the checkpoint.

    `check` is called with the address and the GetInfoResponse of a replica, and raises InvalidRequest if it does not
    fit and Unavailable if it is not ready. `on_wait` is called with the reason when the run starts to wait for a
    generator, and with an empty string when it continues.
    """

    def __init__(
        self,
        addresses: list[str],
        run: str,
        adapters: bool = True,
        patience_s: float = 600.0,
        check: Callable[[str, pb.GetInfoResponse], None] = _do_nothing,
        on_wait: Callable[[str], None] = _do_nothing,
    ) -> None:
        self._adapters, self._patience_s, self._check, self._on_wait = adapters, patience_s, check, on_wait
        self._replicas: dict[str, dict[ReplicaAddress, _Replica]] = {address: {} for address in addresses}
        self._retired: list[_Replica] = []
        self._following: asyncio.Task[None] | None = None
        self._waiting = asyncio.Lock()  # one caller waits and reports; the others wait for it
        self._policy: Path | None = None  # None: the model as loaded
        self.run = run
        self.step = 0

    async def start(self, step: int) -> None:
        """Wait for the generators. The run starts or resumes with the policy of optimizer step `step`. Call it once.

        Raises:
            InvalidRequest: a generator does not fit the run or rejects its credentials.
            Unavailable: the generators were not ready within `patience_s`.
        """
        for configured in self._replicas:
            try:
                await self._patiently(partial(self._contact, configured))
            except _DENIED as error:
                raise InvalidRequest(f"generators: {error}") from None
        self.step = step
        self._following = asyncio.create_task(self._follow_names())

    async def publish(self, policy: Path, step: int) -> None:
        """Sample with the policy in the folder `policy`, of optimizer step `step`, from now on.

        It is sent to all replicas concurrently. One that cannot be reached gets it before it samples again.
        """
        self._policy, self.step = policy, step
        results = await asyncio.gather(*map(self._update, self._all()), return_exceptions=True)
        for result in results:
            if isinstance(result, Unavailable | Overloaded):
                log.warning("a generator has not loaded policy %d yet: %s", step, result)
            elif isinstance(result, BaseException):
                raise result

    async def rollout(
        self, prompts: Iterable[pb.RolloutPrompt], temperature: float, mode: pb.Mode.ValueType, budget: pb.Budget
    ) -> list[pb.RolloutResponse]:
        """Return the trajectories of `prompts` from one call to one replica; only some if the call was interrupted.

        Raises:
            InvalidRequest: the generator rejects the request or the policy.
            Unavailable: no replica was ready for `patience_s`.
        """
        # Top-p and top-k off: truncated probabilities would not be those of the loss.
        sampling = pb.Sampling(temperature=temperature, top_p=1.0, top_k=0)
        replica = await self._ready()
        policy = pb.Policy(run=self.run, version=self.step)
        responses = []
        with replica.call() as client:
            try:
                async for response in client.rollout(
                    prompts, mode=mode, sampling=sampling, budget=budget, policy=policy
                ):
                    responses.append(response)
            except (Unavailable, Overloaded, WrongOrder) as error:  # WrongOrder: it has lost the policy since
                log.warning("a rollout was interrupted: %s", error)
                await asyncio.sleep(_RETRY_S)
        return responses

    async def close(self) -> None:
        """Close the channels."""
        if self._following:
            self._following.cancel()
        await asyncio.gather(*(replica.client.close() for replica in [*self._all(), *self._retired]))

    def _all(self) -> list[_Replica]:
        return [replica for replicas in self._replicas.values() for replica in replicas.values()]

    async def _contact(self, configured: str) -> None:
        """Check that at least one of the replicas behind a configured address is ready."""
        await self._resolve(configured)
        replicas = self._replicas[configured].values()
        results = await asyncio.gather(*map(self._get_info, replicas), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        for failure in failures:
            if isinstance(failure, _DENIED) or not isinstance(failure, Unavailable | Overloaded):
                raise failure
        if len(failures) == len(results):
            raise failures[0]

    async def _patiently(self, attempt: Callable[[], Awaitable[Result]]) -> Result:
        """Return the result of `attempt`, repeated while generators are not ready."""
        wait = WaitProgress(self._patience_s, self._on_wait)
        while True:
            try:
                result = await attempt()
            except TlsMismatch:
                raise
            except (Unavailable, Overloaded) as error:
                wait.report(error)
            else:
                wait.end()
                return result
            await asyncio.sleep(_RETRY_S)

    async def _ready(self) -> _Replica:
        """Return the replica with the fewest calls, after making sure that it has the policy."""
        try:
            return await self._first_ready()
        except Unavailable:
            async with self._waiting:
                return await self._patiently(self._first_ready)

    async def _first_ready(self) -> _Replica:
        reason = "no address"
        for replica in sorted(self._all(), key=lambda replica: (replica.failing, replica.calls)):
            try:
                await self._update(replica)
            except (Unavailable, Overloaded) as error:
                reason, replica.failing = str(error), True
            else:
                return replica
        raise Unavailable(reason)

    async def _get_info(self, replica: _Replica) -> pb.GetInfoResponse:
        """Return the answer of a replica that is ready."""
        with replica.call() as client:
            info = await client.get_info(deadline_s=_INFO_S)
        self._check(replica.client.target, info)
        return info

    async def _update(self, replica: _Replica) -> None:
        """Send the policy to `replica` if it is not there, because that is new, was restarted or was unreachable."""
        async with replica.update_lock:
            if replica.retired:
                raise Unavailable(f"the generator at {replica.client.target} is gone")
            info = await self._get_info(replica)
            with replica.call() as client:
                try:
                    await self._send(client, info)
                except WrongOrder as error:
                    raise InvalidRequest(f"the generator at {client.target}: {error}") from None
            replica.failing = False

    async def _send(self, client: GeneratorClient, info: pb.GetInfoResponse) -> None:
        """Send the policy to a generator that answered `info`, if it does not have it."""
        loaded = [(policy.run, policy.version) for policy in info.loaded_policies]
        if self._policy and (self.run, self.step) in loaded:
            return
        has_model = any(version == 0 for _, version in loaded)
        if not has_model and (self._adapters or not self._policy):
            await client.restore_model(self.run)
        if self._policy:
            load = client.update_adapter if self._adapters else client.load_checkpoint
            await load(self._policy.absolute(), self.step, run=self.run)

    async def _follow_names(self) -> None:
        """Resolve the configured names from time to time, and close replicas that are gone after their last call."""
        while True:
            await asyncio.sleep(_RESOLVE_S)
            for configured in filter(is_name, self._replicas):
                try:
                    await self._resolve(configured)
                except Unavailable as error:  # the known addresses may still serve
                    log.debug("%s", error)
            for replica in [one for one in self._retired if not one.calls]:
                self._retired.remove(replica)
                await replica.client.close()

    async def _resolve(self, configured: str) -> None:
        """Make the addresses behind a configured one replicas, and retire those that are gone."""
        found = await resolve_replicas(configured)
        replicas = self._replicas[configured]
        for address in [one for one in found if one not in replicas]:
            replicas[address] = _Replica(GeneratorClient(address.target, authority=address.authority))
            log.info("generator at %s", address.target)
        for address in [one for one in replicas if one not in found]:
            gone = replicas.pop(address)
            gone.retired = True
            self._retired.append(gone)
            log.info("the generator at %s is gone from %s", address.target, configured)
