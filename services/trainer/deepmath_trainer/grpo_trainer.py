"""TRL's GRPOTrainer on batches of the sampling pipeline.

Theory of operation. TRL calls `rollout_func` for a batch, scores it under the current weights, and takes optimizer
steps on it. Its arguments do not matter: which problems a batch has, in which order, is a function of the batch's
number and the outcomes of those before (`Curriculum`), so the dataset given to TRL is a placeholder. All that the loss
needs is returned:

    prompt_ids, completion_ids    as the engine read and sampled them
    logprobs                      of the policy that sampled them, after temperature
    env_mask                      1 for tokens of the model, 0 for those of tools and of failed trajectories
    value                         the reward; None if there is none

`trl_patches` holds everything that reaches into TRL's private parts; TRL's version is pinned because of it. The state
beside TRL's is in the objects that this class connects: `PolicyPublisher`, `CheckpointStore`, `Curriculum` and
`StepTimer`.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list, gather_object
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig

from deepmath.errors import Unavailable
from deepmath.grading.verdict import Reason
from deepmath_trainer.checkpoint_store import CheckpointStore, TrainingCheckpoint
from deepmath_trainer.finite_policy import TrainingDiverged, first_non_finite
from deepmath_trainer.logprob_scoring import score_rows
from deepmath_trainer.loss_row import LossRow
from deepmath_trainer.policy_publisher import PolicyPublisher, PolicyWriter
from deepmath_trainer.reference_adapter import update_reference
from deepmath_trainer.rollout_batch import RolloutBatch
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.sampling_pipeline import SamplingPipeline
from deepmath_trainer.step_callback import StepCallback
from deepmath_trainer.step_metrics import StepTimer, batch_metrics
from deepmath_trainer.trainer_arguments import grpo_arguments, lora_arguments, set_tracker_environment
from deepmath_trainer.trl_patches.adapter_export import check_adapter, export_adapter
from deepmath_trainer.trl_patches.head_tiles import use_cpu_tiles
from deepmath_trainer.trl_patches.hooked_trainer import HookedGrpoTrainer, TokenScores
from deepmath_trainer.trl_patches.importance_correction import CorrectionInLoss, enable_importance_correction
from deepmath_trainer.trl_patches.log_keys import optimizer_metrics
from deepmath_trainer.trl_patches.loss_temperature import set_loss_temperature
from deepmath_trainer.weight_type import weight_type
from deepmath_trainer.write_failure import explain_write_failure


class GrpoTrainer(HookedGrpoTrainer):
    """GRPO on batches of a pipeline.

    `on_step` is called after every optimizer step with its number, its metrics, and its batch.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        pipeline: SamplingPipeline,
        on_step: Callable[[int, dict[str, float], RolloutBatch], None],
    ) -> None:
        self._config, self._pipeline, self._on_step = config, pipeline, on_step
        self._batch: RolloutBatch | None = None
        self._tensorboard = folder.tensorboard
        self.can_stop_now = False
        """Whether training can be interrupted at this moment, because a batch is awaited."""
        self._stop_requested = False
        if config.launch.threads:
            torch.set_num_threads(config.launch.threads)
        set_tracker_environment(folder)
        super().__init__(
            model=_load_model(config),
            reward_funcs=[reward_of_rollout],
            args=GRPOConfig(**grpo_arguments(config, folder)),
            train_dataset=Dataset.from_dict({"prompt": [""] * config.rollout.groups}),
            processing_class=AutoTokenizer.from_pretrained(config.model_path),
            rollout_func=lambda prompts, _: self._rollout(len(prompts)),
            callbacks=[StepCallback(self._after_step, self._after_log)],
        )
        if self.accelerator.device.type == "cpu":
            use_cpu_tiles()
        if config.lora:
            check_adapter(self._unwrapped_model())
        if config.loss.importance_correction:
            enable_importance_correction(self)
            if config.optimizer.updates == 1 and config.loss.beta == 0:
                self.correction = CorrectionInLoss(self)
        if self._distributed:  # all processes send the same policies, and draw the same problems
            pipeline.replicas.run = broadcast_object_list([pipeline.replicas.run])[0]
            pipeline.gather = gather_object
        writer = PolicyWriter(self.save_policy, self.accelerator.wait_for_everyone, self.accelerator.is_main_process)
        self._policies = PolicyPublisher(folder.policies, config.publish_every, writer)
        self._checkpoints = CheckpointStore(folder.checkpoints, config.checkpoint.keep)
        self._gradient_rows: torch.Tensor | None = None  # those with an advantage, in the loss; None: all
        self._timer = StepTimer(lambda: pipeline.busy_seconds)

    def run(self, checkpoint: TrainingCheckpoint | None) -> bool:
        """Train from the start or from `checkpoint`; return whether training is complete, rather than stopped."""
        step = checkpoint.step if checkpoint else 0
        self._pipeline.discard_before(self._batch_index(step))
        if checkpoint:
            self._pipeline.sampler.curriculum.restore(self._batch_index(step), checkpoint.curriculum)
        if checkpoint and (sampler := checkpoint.sampler) and step < self._config.optimizer.steps:
            policy = self._policies.restore(sampler)
            self._pipeline.start_batch(self._batch_index(step), policy, checkpoint.first_published)
        self._purge_trackers(step)
        self._timer.start_step()
        self.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)
        return bool(self.state.global_step >= self._config.optimizer.steps)

    def publish_policy(self) -> None:
        """Send the trained policy to the generators, if they do not have it."""
        step = self.state.global_step
        if folder := self._policies.next(step, last=True):
            self._pipeline.publish(folder, step)

    def save_policy(self, folder: Path) -> None:
        """Write the policy in the form that generators load: a LoRA adapter as peft writes it, or all weights.

        Raises:
            TrainingDiverged: its weights are not finite.
        """
        self._check_finite()
        if self._config.lora:
            export_adapter(self._unwrapped_model(), self.accelerator, folder)
        else:
            self.save_model(str(folder))

    def stop_after_step(self) -> None:
        """Write a checkpoint after the current step and stop."""
        self._stop_requested = True

    def save_checkpoint(self) -> None:
        """Write a checkpoint now, between two steps, unless there is one of this step."""
        step, latest = self.state.global_step, self._checkpoints.latest()
        if step and (latest is None or latest.step != step):
            self.save_checkpoint_now()

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: `model_card` writes the adapter's card, and a checkpoint has none."""

    @contextmanager
    def loss_scope(self, advantages: torch.Tensor) -> Iterator[None]:
        """Score rows without an advantage, which add nothing to the loss, without a gradient."""
        self._gradient_rows = advantages != 0 if self.beta == 0 else None
        yield
        self._gradient_rows = None

    def score_tokens(self, score: Callable[..., TokenScores], *batch: Any, **options: Any) -> TokenScores:
        """Score without padding, at most `optimizer.micro_batch` rows at a time."""
        # Several processes have to call the model equally often; a load-balancing loss is over all rows.
        if self._distributed or len(batch) > 3 or options.get("compute_aux_loss"):
            return score(*batch, **options)
        options["batch_size"] = self._config.optimizer.micro_batch
        input_ids, attention_mask, scored = batch
        options["gradient_rows"] = self._gradient_rows
        return *score_rows(score, input_ids, attention_mask, scored, **options), None

    def checkpoint_root(self) -> Path:
        """Write checkpoints to the staging folder."""
        return self._checkpoints.staging

    def write_checkpoint(self, write: Callable[[], None]) -> None:
        """Stage a checkpoint and move it to its place when it is complete.

        Raises:
            Unavailable: it could not be written; the previous one remains.
        """
        step, is_main_process = self.state.global_step, self.accelerator.is_main_process
        batch = self._batch_index(step)
        if is_main_process:
            self._checkpoints.discard_staged()
        try:
            with explain_write_failure(f"the checkpoint of step {step}"):
                write()
                if is_main_process:
                    self._checkpoints.stage_curriculum(step, self._pipeline.sampler.curriculum.state(batch))
                    if self._config.rollout.staleness and self._config.lora:
                        self._checkpoints.stage_sampler(step, self._policies.current)
        except Unavailable:
            self._checkpoints.discard_staged()
            raise
        if is_main_process:
            self._checkpoints.commit(step)
        self.accelerator.wait_for_everyone()
        self._pipeline.discard_before(batch)

    def _rollout(self, expected: int) -> dict[str, list[Any]]:
        """Return the next batch, of `expected` trajectories, in the form of TRL's `rollout_func`."""
        step = self.state.global_step
        self.can_stop_now = not self._distributed
        if self.can_stop_now and self._stop_requested:
            signal.raise_signal(signal.SIGTERM)  # it arrived since the last step, or before the first
        with self._timer.waiting():
            batch = self._pipeline.next(self._batch_index(step), partial(self._policies.next, step), step)
        self.can_stop_now = False
        self._batch = batch
        set_loss_temperature(self.accelerator.unwrap_model(self.model), batch.temperature)
        values = [sample.reward.total for sample in batch.samples]
        rows = [
            LossRow.of(sample.trajectory, value is not None, self.processing_class.pad_token_id)
            for sample, value in zip(batch.samples, values, strict=True)
        ]
        assert len(rows) == expected, "TRL requested another number of trajectories than the configuration gives"
        return {
            "prompt_ids": [row.prompt_ids for row in rows],
            "completion_ids": [row.completion_ids for row in rows],
            "logprobs": [row.logprobs for row in rows],
            "env_mask": [row.mask for row in rows],
            "value": values,
        }

    def _after_step(self) -> bool:
        """Update the reference if it is due; return whether to stop here.

        Raises:
            TrainingDiverged: the step made weights that are not finite. No checkpoint of them is written.
        """
        self._check_finite()
        loss, step = self._config.loss, self.state.global_step
        if self._config.lora and loss.reference_every and step % loss.reference_every == 0:
            update_reference(self._unwrapped_model(), loss.reference_mixup)
        if step % self._config.optimizer.updates:
            return False  # in the middle of a batch
        requested = torch.tensor(float(self._stop_requested), device=self.accelerator.device)
        return bool(self.accelerator.reduce(requested) > 0)  # in any process

    def _after_log(self, logs: Mapping[str, float]) -> None:
        """Report the optimizer step that TRL has logged."""
        assert self._batch is not None
        step, batch = self.state.global_step, self._batch
        metrics = (
            optimizer_metrics(logs)
            | batch_metrics(batch)
            | self._pipeline.sampler.curriculum.metrics(batch.index + 1)
            | self._timer.end_step(batch, self._config.batch)
            | {
                "staleness": batch.mean_staleness(step - 1),
                "verify_timeouts": self._pipeline.sampler.verifier.reasons[Reason.ANSWER_TIMEOUT],
            }
        )
        self._on_step(step, metrics, batch)

    def _check_finite(self) -> None:
        weight = first_non_finite(self._unwrapped_model())
        diverged = torch.tensor(float(bool(weight)), device=self.accelerator.device)
        if self.accelerator.reduce(diverged) > 0:  # in any process, and so in all
            raise TrainingDiverged(self.state.global_step, weight)

    def _purge_trackers(self, step: int) -> None:
        """Remove from the trackers' logs what a killed worker wrote after `step`."""
        if "tensorboard" in self._config.report_to and self.accelerator.is_main_process:
            from deepmath_trainer.tensorboard_purge import purge_after  # TensorBoard is slow to import

            purge_after(self._tensorboard, step)

    def _batch_index(self, step: int) -> int:
        """Return the batch that follows optimizer step `step`."""
        return step // self._config.optimizer.updates

    def _unwrapped_model(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)

    @property
    def _distributed(self) -> bool:
        """Whether this is one of several processes."""
        return bool(self.accelerator.num_processes > 1)


def reward_of_rollout(value: list[float | None], **_: Any) -> list[float | None]:
    """TRL's reward function: the rewards that came with the rollout."""
    return value


def _load_model(config: TrainConfig) -> Any:
    model = AutoModelForCausalLM.from_pretrained(config.model_path, dtype=weight_type(config.launch))
    if config.lora is None:
        return model
    torch.manual_seed(config.seed)  # the adapter's initial weights are random
    return get_peft_model(model, LoraConfig(**lora_arguments(config.lora)))
