"""`python -m deepmath_trainer.training_worker FOLDER`: trains one run, from its last checkpoint if it has one.

The same command resumes a run that was stopped or killed. On SIGTERM the worker writes a checkpoint and stops.
"""

import logging
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.exit_codes import EXIT_FAILURE, EXIT_TERMINATED, EXIT_USAGE
from deepmath.observability.logs import set_up_logging
from deepmath.rpc.core_logging import silence_core_logging
from deepmath_trainer.checkpoint_store import CheckpointStore, TrainingCheckpoint
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.run_progress import RunProgress
from deepmath_trainer.worker_launch import worker_log_format
from deepmath_trainer.write_failure import explain_full_disk

if TYPE_CHECKING:
    from deepmath_trainer.grpo_trainer import GrpoTrainer
    from deepmath_trainer.rollout_batch import RolloutBatch
    from deepmath_trainer.sampling_pipeline import SamplingPipeline

log = logging.getLogger(__name__)


class StopRequested(BaseException):
    """SIGTERM arrived at a moment at which training can be interrupted."""


class TrainingWorker:
    """A worker of a run. `rank` is this process among those of the run; the first one writes the folder."""

    def __init__(self, folder: RunFolder, config: TrainConfig, rank: int) -> None:
        self.folder, self.config, self.rank = folder, config, rank
        self.progress = RunProgress(folder, rank)
        self._trainer: GrpoTrainer | None = None
        self._dialect = ""  # of the trajectories

    def run(self) -> None:
        """Train, evaluate before and after, and write the adapter with its card and plots.

        Raises:
            DeepMathError: the run cannot continue.
            StopRequested: it was stopped while it waited, and can be resumed.
        """
        from deepmath_trainer.grpo_trainer import GrpoTrainer

        signal.signal(signal.SIGTERM, self._stop)
        pipeline = trainer = None
        try:
            checkpoint = self._rewind()
            self._check_sources(resumed=checkpoint is not None)
            pipeline = self.make_pipeline()
            pipeline.sampler.verifier.start()  # refuses now, and not at the first answer that needs a sandbox
            pipeline.start(checkpoint.first_published if checkpoint else 0)
            trainer = GrpoTrainer(self.config, self.folder, pipeline, self._report)
            if not checkpoint:
                self._evaluate("before", pipeline)
            self.progress.enter("running")
            self._trainer = trainer
            complete = trainer.run(checkpoint)
            self._trainer = None
            if complete:
                self._finish(trainer, pipeline)
            self.progress.enter("done" if complete else "stopped")
        except StopRequested:
            if trainer:
                trainer.save_checkpoint()
            self.progress.enter("stopped")
            raise
        finally:
            if pipeline:
                pipeline.close()

    def _rewind(self) -> TrainingCheckpoint | None:
        """Return the last checkpoint, after removing what a killed worker wrote after it."""
        checkpoints = CheckpointStore(self.folder.checkpoints, self.config.checkpoint.keep)
        steps = self.config.optimizer.steps
        checkpoint = checkpoints.latest()
        step = checkpoint.step if checkpoint else 0
        if self.rank == 0:
            checkpoints.tidy()
            self.folder.rewind(step, complete=step >= steps)
            self.progress.write(status="starting", step=step, pid=os.getpid(), steps=steps)
        return checkpoint

    def _check_sources(self, resumed: bool) -> None:
        from deepmath.data.reasoning_gym.gym_problems import gym_version
        from deepmath.data.reasoning_gym.gym_source import is_gym_source

        used = map(is_gym_source, (self.config.data.dataset, self.config.evaluation.data.dataset))
        if self.rank == 0:
            self.folder.check_sources({"reasoning-gym": gym_version()} if any(used) else {}, resumed)

    def make_pipeline(self) -> "SamplingPipeline":
        """Return the source of the trainer's batches."""
        from deepmath_trainer.batch_sampler import BatchSampler
        from deepmath_trainer.decontamination import load_training_set
        from deepmath_trainer.generator_check import check_generator
        from deepmath_trainer.generator_replicas import GeneratorReplicas
        from deepmath_trainer.sampling_pipeline import SamplingPipeline
        from deepmath_trainer.temperature_schedule import TemperatureSchedule
        from deepmath_trainer.trajectory_journal import TrajectoryJournal

        config = self.config
        found = load_training_set(config)
        if self.rank == 0:
            self.folder.write_data_record(len(found.problems), found.contaminated)
        replicas = GeneratorReplicas(
            config.generators,
            run=f"{self.folder.name}-{secrets.token_hex(4)}",  # of this process: see `GeneratorReplicas`
            adapters=config.lora is not None,
            patience_s=config.generator_patience_s,
            check=partial(check_generator, config),
            on_wait=self.progress.wait_for,
        )
        journal = TrajectoryJournal(self.folder.path / "journal" / str(self.rank))
        schedule = TemperatureSchedule(**config.rollout.temperature.model_dump())
        return SamplingPipeline(
            BatchSampler(config, found.problems, replicas, journal, self.rank),
            replicas,
            batches=config.optimizer.steps // config.optimizer.updates,
            staleness=config.rollout.staleness,
            temperature_at=lambda batch: schedule.at(batch * config.optimizer.updates),
        )

    def _evaluate(self, when: str, pipeline: "SamplingPipeline") -> None:
        from deepmath_trainer.policy_evaluation import evaluate_policy
        from deepmath_trainer.training_data import load_problems

        known = self.folder.read_evaluation()
        if self.rank or not self.config.evaluation.problems or when in known:
            return
        # The same problems for every seed, so that runs can be compared.
        problems = load_problems(self.config.evaluation.data, seed=0, most=self.config.evaluation.problems)
        figures = pipeline.run(evaluate_policy(self.config, problems, pipeline.replicas, pipeline.sampler.verifier))
        self.folder.write_evaluation(known | {when: figures})

    def _report(self, step: int, metrics: dict[str, float], batch: "RolloutBatch") -> None:
        """Write an optimizer step to the run's folder."""
        if self.rank:
            return
        self.folder.append_metrics(step, metrics)
        self._dialect = batch.groups[0].samples[0].trajectory.dialect
        for group in batch.groups[: self.config.traces]:
            sample = group.samples[0]
            self.folder.append_trace(
                {
                    "step": step,
                    "problem": group.problem.text,
                    "gold": group.problem.answer,
                    "answer": sample.trajectory.answer,
                    "reward": sample.reward.total,
                    "text": sample.trajectory.text,
                    "dialect": sample.trajectory.dialect,
                }
            )
        self.progress.write(step=step, policy_version=step)

    def _finish(self, trainer: "GrpoTrainer", pipeline: "SamplingPipeline") -> None:
        """Evaluate the trained policy and write the adapter with its card and plots."""
        from deepmath_trainer.model_card import write_card
        from deepmath_trainer.training_plots import draw_plots

        trainer.publish_policy()
        self._evaluate("after", pipeline)
        trainer.save_policy(self.folder.adapter)
        if self.rank == 0:
            write_card(self.folder.adapter, self.config, self.folder.read_evaluation(), self._dialect)
            draw_plots(self.folder)

    def _stop(self, *_: object) -> None:
        if self._trainer is None or self._trainer.can_stop_now:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the checkpoint
            raise StopRequested
        self._trainer.stop_after_step()


def main(arguments: Sequence[str]) -> int:
    """Run the worker of the run whose folder is the first of `arguments`; return its exit status."""
    folder = RunFolder(Path(arguments[0]))
    silence_core_logging()
    set_up_logging("info", worker_log_format(), "trainer")
    try:
        _lock = None if folder.is_held() else folder.hold()  # a service that started this process holds it already
        config = parse_config(folder.config.read_text())
        with explain_full_disk():
            TrainingWorker(folder, config, int(os.environ.get("RANK", "0"))).run()
    except StopRequested:
        # Other processes may wait for this one: with this status their launcher ends them.
        return EXIT_TERMINATED if _is_one_of_several() else 0
    except DeepMathError as error:
        log.error("%s", error)
        misconfigured = isinstance(error, InvalidRequest)
        _record_failure(folder, str(error), misconfigured)
        return EXIT_USAGE if misconfigured else EXIT_FAILURE
    except Exception as error:
        log.exception("unhandled exception in the training worker")
        _record_failure(folder, f"{type(error).__name__}: {error} (traceback in worker.log)")
        return EXIT_FAILURE
    return 0


def _record_failure(folder: RunFolder, reason: str, misconfigured: bool = False) -> None:
    """Write why the run has failed, except in a process that fails because another one of the run has ended."""
    if _is_one_of_several() and folder.read_state().ended:
        return
    with suppress(OSError):  # of a full disk; the service then quotes the log
        folder.write_state(status="failed", error=reason, misconfigured=misconfigured, waiting_for="")


def _is_one_of_several() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
