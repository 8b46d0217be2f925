"""A training run as the command line drives it: services started for it, its updates shown, stopped by Ctrl-C."""

import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from deepmath.cli.output_streams import queued_bytes, write_data
from deepmath.cli.training_views import TrainingView, notify, select_view, show_outcome
from deepmath.clients import TrainerClient
from deepmath.clients.backoff import pauses
from deepmath.errors import Unavailable
from deepmath.local_stack.local_services import BACKGROUND, LocalServices
from deepmath.local_stack.stack import EMBEDDED_MODEL, LocalStack, generator_options
from deepmath.trainer.v1 import trainer_pb2 as pb

_LAST_UPDATES_S = 5.0  # to show those of a run that was stopped
_MOST_UNREAD_BYTES = 1 << 20  # of updates that the reader of stdout has not read
_POLL_S = 0.05
_RECONNECT_S = 60.0  # time for a trainer to restart
_DEFAULT_LORA_RANK = 32


class TrainingSession:
    """One `StartRunRequest` (`request`, as keyword arguments), run on a trainer at `trainer` or started here."""

    def __init__(self, request: dict[str, Any], trainer: str | None, runs: Path, as_json: bool) -> None:
        self._request = request
        self._trainer = trainer
        self._runs = runs
        self._as_json = as_json

    async def run(self, dry_run: bool, resume_existing: bool) -> pb.Run | None:
        """Train and return the finished run; with `dry_run`, print the complete configuration and return None.

        Until the run is followed, SIGTERM cancels this call: an exception that a signal handler raised within the event
        loop could leave a process half started, which nothing would wait for.

        Raises:
            InvalidRequest: The configuration is invalid.
            Unavailable: The trainer is unreachable, or a service does not start.
        """
        task = asyncio.current_task()
        assert task
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        async with AsyncExitStack() as block:
            local = await block.enter_async_context(LocalServices(show_logs=self._as_json))
            address = self._trainer or await local.start("trainer", "--runs", str(self._runs))
            client = await block.enter_async_context(TrainerClient(address))
            request = self._request
            if resume_existing:
                request["resume"] |= request["name"] in [run.name for run in await client.list_runs()]
            plan = await client.start_run(**request, dry_run=True)
            for note in plan.notes:
                notify(note, self._as_json)
            if dry_run:
                write_data(plan.run.config_yaml, sys.stdout)
                return None
            if not plan.needs.addresses:
                generator = await self._start_generator(block, plan.needs)
                request["overrides"] = [*request["overrides"], f"generators=['{generator}']"]
            run = (await client.start_run(**request | {"name": plan.run.name})).run
            notify(f"run {run.name}, in {run.folder}", self._as_json)
            run = await _follow(client, run.name, select_view(self._as_json))
        if not self._as_json:
            show_outcome(run, self._resume_command(run.name))
        return run

    def _resume_command(self, name: str) -> str:
        trainer, runs = self._trainer, self._runs
        where = f" --trainer {trainer}" if trainer else f" --runs {runs}" if runs != Path("runs") else ""
        return f"deepmath train --resume --name {name}{where}"

    async def _start_generator(self, block: AsyncExitStack, needs: pb.GeneratorNeeds) -> str:
        """Start a generator and an executor that stop with `block`, and return the generator's address."""
        model = None if needs.model == str(EMBEDDED_MODEL) else needs.model
        served, options = generator_options(model, None, needs.prompt or None, needs.dialect or None)
        if needs.lora_rank > _DEFAULT_LORA_RANK:
            options += ["--max-lora-rank", str(needs.lora_rank)]
        if needs.checkpoint_root:
            options += ["--checkpoint-root", needs.checkpoint_root]
        # They share the cores with the trainer, on whose thread each step waits: theirs must not spin, nor come first.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        notify("starting executor and generator; loading a model takes half a minute or more", self._as_json)
        stack = LocalStack(served, arguments={"generator": options}, show_logs=self._as_json, niceness=BACKGROUND)
        return (await block.enter_async_context(stack)).generator


async def _follow(client: TrainerClient, name: str, view: TrainingView) -> pb.Run:
    """Show a run until it ends, and return it. SIGINT and SIGTERM stop the run."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with view:
        watching = asyncio.create_task(_watch(client, name, view))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([watching, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not watching.done():
            view.notify("stopping: writing a checkpoint, which may take a minute")
            await client.stop_run(name)
            await asyncio.wait([watching], timeout=_LAST_UPDATES_S)
            if not watching.done():  # nobody reads the updates
                watching.cancel()
                return await client.get_run(name)
        return await watching


async def _watch(client: TrainerClient, name: str, view: TrainingView) -> pb.Run:
    """Show a run's updates and return the finished run. Reconnects if the trainer restarts."""
    loop = asyncio.get_running_loop()
    run, step = None, 0
    deadline, delays = loop.time() + _RECONNECT_S, pauses()
    while True:
        try:
            async for update in client.watch_run(name, from_step=step + 1):
                view.show(update)
                while queued_bytes(sys.stdout) > _MOST_UNREAD_BYTES:  # noqa: ASYNC110 - a thread writes
                    await asyncio.sleep(_POLL_S)
                run = update.run if update.HasField("run") else run
                step = max(step, update.metrics.step)
                deadline, delays = loop.time() + _RECONNECT_S, pauses()
        except Unavailable:
            if loop.time() > deadline:
                raise
            await asyncio.sleep(next(delays))
        else:
            assert run is not None  # the first update
            return run
