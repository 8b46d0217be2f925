"""The trainer's contract: validates and starts runs, each of which trains in its own worker process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc

from deepmath.errors import InvalidRequest, WrongOrder
from deepmath.trainer.v1 import trainer_pb2 as pb
from deepmath.trainer.v1 import trainer_pb2_grpc as rpc
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_log import RunLogReader
from deepmath_trainer.run_messages import metrics_message, run_message, trace_message
from deepmath_trainer.run_registry import RunRegistry
from deepmath_trainer.run_validation import validate_run

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["TrainerService"].full_name

_POLL_S = 0.2  # a step takes longer


class TrainerServicer(rpc.TrainerServiceServicer):
    """Starts, reports and stops `runs`."""

    def __init__(self, runs: RunRegistry) -> None:
        self._runs = runs

    def register(self, server: grpc.aio.Server) -> None:
        """Add this servicer to `server`."""
        rpc.add_TrainerServiceServicer_to_server(self, server)

    async def StartRun(self, request: pb.StartRunRequest, context: Any) -> pb.StartRunResponse:
        """Validate a run, and start it unless the request is a dry run."""
        config, folder = self._resumed(request) if request.resume else self._new(request)
        _check_weights_folder(config, folder.path)
        notes = await validate_run(config)
        if not request.dry_run:
            if not config.generators:
                raise InvalidRequest("generators: set the address of at least one generator")
            await self._runs.start(folder, config)
        run = run_message(folder, self._runs.state(folder), config.to_yaml()) if folder.path.exists() else None
        return pb.StartRunResponse(run=run or _planned(folder, config), needs=_needs(config), notes=notes)

    async def GetRun(self, request: pb.GetRunRequest, context: Any) -> pb.GetRunResponse:
        """Return the state and configuration of a run."""
        folder = self._runs.find(request.name)
        return pb.GetRunResponse(run=run_message(folder, self._runs.state(folder), folder.config.read_text()))

    async def ListRuns(self, request: pb.ListRunsRequest, context: Any) -> pb.ListRunsResponse:
        """Return the states of all runs."""
        return pb.ListRunsResponse(runs=[run_message(folder, self._runs.state(folder)) for folder in self._runs.all()])

    async def WatchRun(self, request: pb.WatchRunRequest, context: Any) -> AsyncIterator[pb.WatchRunResponse]:
        """Stream state, metrics and traces of a run until it has ended."""
        folder = self._runs.find(request.name)
        metrics, traces = RunLogReader(folder.metrics), RunLogReader(folder.traces)
        known = None
        while True:
            state = self._runs.state(folder)  # before the logs, which do not grow once it has ended
            run = run_message(folder, state)
            if run != known:
                yield pb.WatchRunResponse(run=run)
                known = run
            updates = [pb.WatchRunResponse(metrics=metrics_message(line)) for line in metrics.read()]
            updates += [pb.WatchRunResponse(trace=trace_message(line)) for line in traces.read()]
            for update in sorted(updates, key=_step):
                if _step(update) >= request.from_step:
                    yield update
            if state.ended:
                yield pb.WatchRunResponse(run=run)
                return
            await asyncio.sleep(_POLL_S)

    async def StopRun(self, request: pb.StopRunRequest, context: Any) -> pb.StopRunResponse:
        """Stop a run and wait until it has ended."""
        folder = self._runs.find(request.name)
        return pb.StopRunResponse(run=run_message(folder, await self._runs.stop(folder)))

    def _new(self, request: pb.StartRunRequest) -> tuple[TrainConfig, RunFolder]:
        if not request.WhichOneof("source"):
            raise InvalidRequest("give a configuration or the name of a recipe")
        config = parse_config(_text(request), request.overrides)
        if name := request.name or config.name:
            return config, self._runs.new(name)
        return config, self._runs.new_numbered(f"{request.recipe or Path(config.model).name}-{config.seed}")

    def _resumed(self, request: pb.StartRunRequest) -> tuple[TrainConfig, RunFolder]:
        """Return the run to resume. Settings that define the run cannot be changed."""
        if not request.name:
            raise InvalidRequest("name the run to resume: --resume --name NAME")
        folder = self._runs.find(request.name)
        if not self._runs.state(folder).ended:
            raise WrongOrder(f"the run {folder.name} is already running; stop it first")
        kept = parse_config(folder.config.read_text())
        text = _text(request) if request.WhichOneof("source") else folder.config.read_text()
        # `deepmath train` starts a generator only if none is configured; the one that it started before is gone.
        listening = [address for address in kept.generators if _may_listen(address)]
        config = parse_config(text, [f"generators={listening}", *request.overrides])
        for setting in ("model", "seed", "data", "lora"):
            if getattr(config, setting) != getattr(kept, setting):
                raise InvalidRequest(f"{setting} differs from that of the run {folder.name}; start a new run")
        return config, folder


def _check_weights_folder(config: TrainConfig, folder: Path) -> None:
    root = config.checkpoint_root
    if config.lora is None and root and not folder.resolve().is_relative_to(Path(root).resolve()):
        raise InvalidRequest(
            f"checkpoint_root is {root}, from which the generators read weights, but the run's folder is "
            f"{folder.absolute()}; use a folder that contains it"
        )


def _text(request: pb.StartRunRequest) -> str:
    return read_recipe(request.recipe) if request.WhichOneof("source") == "recipe" else request.config_yaml


def _may_listen(address: str) -> bool:
    """Return whether a generator may listen at `address`: false for a socket file without a listener."""
    if not address.startswith("unix:"):
        return True
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(address.removeprefix("unix:")) == 0


def _planned(folder: RunFolder, config: TrainConfig) -> pb.Run:
    return pb.Run(
        name=folder.name,
        steps=config.optimizer.steps,
        folder=str(folder.path.absolute()),
        config_yaml=config.to_yaml(),
    )


def _needs(config: TrainConfig) -> pb.GeneratorNeeds:
    return pb.GeneratorNeeds(
        addresses=config.generators,
        model=config.model_path,
        lora_rank=config.lora.rank if config.lora else 0,
        prompt=config.prompt or "",
        dialect=config.dialect or "",
        checkpoint_root=config.checkpoint_root or "",
    )


def _step(update: pb.WatchRunResponse) -> int:
    return update.metrics.step if update.HasField("metrics") else update.trace.step
