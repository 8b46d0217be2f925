"""Client of the trainer service."""

from collections.abc import AsyncIterator, Sequence
from functools import cached_property

import grpc

from deepmath.clients.base_client import BaseClient
from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath.trainer.v1 import trainer_pb2_grpc as rpc

_DEADLINE_S = 5.0
_START_DEADLINE_S = 1800.0  # a dataset may have to be downloaded


class TrainerClient(BaseClient):
    """A channel to a trainer.

    Every method raises InvalidRequest or WrongOrder if the trainer rejects the request, and Unavailable if the trainer,
    or a generator that it needs, cannot be reached. Leaving an iterator early does not stop the run.
    """

    service = "trainer"

    @cached_property
    def stub(self) -> rpc.TrainerServiceStub:
        """The stub on this channel."""
        return rpc.TrainerServiceStub(self.channel)

    async def start_run(
        self,
        *,
        config_yaml: str | None = None,
        recipe: str | None = None,
        overrides: Sequence[str] = (),
        name: str = "",
        resume: bool = False,
        dry_run: bool = False,
    ) -> pb.StartRunResponse:
        """Start a run from a configuration or a recipe's name, or `resume` one by name; a `dry_run` only validates."""
        request = pb.StartRunRequest(overrides=overrides, name=name, resume=resume, dry_run=dry_run)
        if config_yaml is not None:
            request.config_yaml = config_yaml
        if recipe is not None:
            request.recipe = recipe
        try:  # not retried: a second attempt could start a second run
            return await self.stub.StartRun(request, timeout=_START_DEADLINE_S)
        except grpc.aio.AioRpcError as error:
            raise await self.translate(error) from None

    async def get_run(self, name: str) -> pb.Run:
        """Return a run with its configuration."""
        request = pb.GetRunRequest(name=name)
        response = await self.call_with_retry(lambda timeout: self.stub.GetRun(request, timeout=timeout), _DEADLINE_S)
        return response.run

    async def list_runs(self) -> list[pb.Run]:
        """Return all runs, the latest first."""
        request = pb.ListRunsRequest()
        response = await self.call_with_retry(lambda timeout: self.stub.ListRuns(request, timeout=timeout), _DEADLINE_S)
        return list(response.runs)

    def watch_run(self, name: str, from_step: int = 0) -> AsyncIterator[pb.WatchRunResponse]:
        """Yield the updates of a run from `from_step` on until it has ended; the last update is the run."""
        return self.stream_with_retry(lambda: self.stub.WatchRun(pb.WatchRunRequest(name=name, from_step=from_step)))

    async def stop_run(self, name: str) -> pb.Run:
        """Stop a run, wait until its checkpoint is written, and return it."""
        try:
            return (await self.stub.StopRun(pb.StopRunRequest(name=name))).run
        except grpc.aio.AioRpcError as error:
            raise await self.translate(error) from None
