"""The only file that knows TRL: its GRPOTrainer, fed with rollouts of ours through its own hooks.

Theory of operation. TRL asks `rollout_func` for a batch, scores it under the current weights, and takes optimizer
steps on it. What it asks with does not matter: which problems come, in which order, is a function of the batch's
number alone (`Rollouts`), so the dataset that TRL gets is a placeholder. Everything that the loss needs comes back:

    prompt_ids, completion_ids    as the engine read and sampled them
    logprobs                      of the policy that sampled, after temperature
    env_mask                      1 for tokens of the model, 0 for those of tools and of failed trajectories
    value                         the reward; None where there is none

Three of TRL's insides are used, which is why its version is pinned. (1) Its correction for tokens sampled by another
policy is tied to its own vLLM client: `use_vllm` is set after construction, with a client that does nothing. (2) The
temperature of the loss is a closure's cell, set for each batch. (3) A LoRA adapter is written by the functions of its
asynchronous trainer.
"""

import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import import_utils

from deepmath.errors import Unavailable
from deepmath_trainer.logprob_scoring import Scores, score_rows, unpadded
from deepmath_trainer.loss_rows import row
from deepmath_trainer.reference_adapter import POLICY, move_reference
from deepmath_trainer.rollout_batches import Batch
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.sampling_pipeline import SamplingPipeline
from deepmath_trainer.step_metrics import of_batch, of_trl

# Where one environment has both, TRL would import vLLM: half a minute, for nothing. A trainer never loads it.
import_utils.is_vllm_available = lambda *_, **__: False
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # it warns of `rollout_func`; its version is pinned

from trl import GRPOConfig, GRPOTrainer  # noqa: E402
from trl.experimental.async_grpo.async_grpo_trainer import (  # noqa: E402
    save_lora_adapter,
    validate_lora_for_vllm_sync,
)

log = logging.getLogger(__name__)

_PROJECT = "deepmath"  # of W&B and trackio, where the user names none
_SAMPLER = "sampler"  # in a checkpoint: the policy that the batch under way is sampled by


class _NoVllm:
    """Stands where TRL keeps its vLLM client: policies are published by the pipeline."""

    def sync_weights(self) -> None:
        pass


class GrpoTrainer(GRPOTrainer):  # type: ignore[misc]
    """GRPO on batches of a pipeline.

    `on_step` is told of every optimizer step: its number, its metrics, and the batch it was taken on.
    """

    def __init__(
        self,
        config: TrainConfig,
        folder: RunFolder,
        pipeline: SamplingPipeline,
        on_step: Callable[[int, dict[str, float], Batch], None],
    ) -> None:
        self._config, self._folder, self._pipeline, self._on_step = config, folder, pipeline, on_step
        self._policies = folder.path / "policies"
        self._published: int | None = None  # optimizer step of the policy that was last published
        self._batch: Batch | None = None
        self._taught: torch.Tensor | None = None  # which rows of the loss have a gradient; None for all
        self._scores: Scores | None = None  # of the batch, for the loss to come
        self.may_stop = False  # at this moment, because a batch is waited for
        self._stop_asked = False
        self._ended = time.monotonic()  # the step before
        self._waited = 0.0  # seconds for the batch, in this step
        self._busy_before = pipeline.busy_seconds
        if config.launch.threads:
            torch.set_num_threads(config.launch.threads)
        tokenizer = AutoTokenizer.from_pretrained(config.model_path)
        model = AutoModelForCausalLM.from_pretrained(config.model_path, dtype=config.launch.dtype)
        if config.lora:
            torch.manual_seed(config.seed)  # the adapter's beginning is random
            model = get_peft_model(model, _lora(config))
        super().__init__(
            model=model,
            reward_funcs=[value_of],
            args=_arguments(config, folder),
            train_dataset=Dataset.from_dict({"prompt": [""] * config.rollout.groups}),
            processing_class=tokenizer,
            rollout_func=GrpoTrainer._rollout,
            callbacks=[_Reporter(self)],
        )
        if config.lora:
            validate_lora_for_vllm_sync(self._plain_model())
        if self._together:  # what the generators were at, when the first process asked
            pipeline.replicas.offset = broadcast_object_list([pipeline.replicas.offset])[0]
        if config.loss.importance_correction:
            self.use_vllm, self.vllm_mode = True, "server"
            self.vllm_generation, self._last_loaded_step = _NoVllm(), -1

    def go(self, checkpoint: Path | None) -> bool:
        """Train from the beginning or from `checkpoint`; return whether to the end, and not only until told to stop."""
        if checkpoint and (sampler := sampler_of(checkpoint)):
            self._published = step_of(sampler)
            kept = self._policies / sampler.name
            shutil.copytree(sampler, kept, dirs_exist_ok=True)
            batch = step_of(checkpoint) // self._config.optimizer.updates
            self._pipeline.begin(batch, self._unless_fresh(kept), self._published)
        self._ended = time.monotonic()
        self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
        return bool(self.state.global_step >= self._config.optimizer.steps)

    def publish(self) -> None:
        """Give the generators the policy as it is."""
        if folder := self._policy():
            self._pipeline.publish(folder, self.state.global_step)

    def stop_after_step(self) -> None:
        """Write a checkpoint after the step that is under way, and end there."""
        self._stop_asked = True

    def save_checkpoint(self) -> None:
        """Write a checkpoint now, between two steps."""
        if self.state.global_step:
            self._save_checkpoint(self.model, None)

    def save_policy(self, folder: Path) -> None:
        """Write the policy as generators take it: a LoRA adapter as peft writes it, or the whole model."""
        if self._config.lora:
            save_lora_adapter(self._plain_model(), self.accelerator, POLICY, str(folder))
        else:
            self.save_model(str(folder), _internal_call=True)

    def create_model_card(self, *_: Any, **__: Any) -> None:
        """Write nothing: the card is ours, and a checkpoint has none."""

    @staticmethod
    def _rollout(prompts: list[str], trainer: "GrpoTrainer") -> dict[str, list[Any]]:
        """TRL's `rollout_func`: the next batch."""
        self = trainer
        began = time.monotonic()
        step = self.state.global_step
        self.may_stop = not self._together
        batch = self._pipeline.next(step // self._config.optimizer.updates, self._policy, step)
        self.may_stop = False
        self._waited = time.monotonic() - began
        self._batch = batch
        set_loss_temperature(self.accelerator.unwrap_model(self.model), batch.temperature)
        values = [sample.reward.total for sample in batch.samples]
        rows = [
            row(sample.trajectory, value is not None, self._tokenizer.pad_token_id)
            for sample, value in zip(batch.samples, values, strict=True)
        ]
        assert len(rows) == len(prompts), "TRL asked for another number of trajectories than the configuration says"
        return {
            "prompt_ids": [one.prompt_ids for one in rows],
            "completion_ids": [one.completion_ids for one in rows],
            "logprobs": [one.logprobs for one in rows],
            "env_mask": [one.mask for one in rows],
            "value": values,
        }

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """TRL's loss. It is zero where a trajectory has no advantage: then it needs no gradient."""
        taught = inputs["advantages"] != 0
        self._taught = taught if self.beta == 0 and taught.any() else None
        loss: torch.Tensor = super()._compute_loss(model, inputs)
        self._taught = self._scores = None
        return loss

    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: int, *rest: Any, **options: Any
    ) -> tuple[Any, Any, Any]:
        """TRL's scoring, without padding, and once where TRL would do it twice.

        TRL scores a batch for the correction by importance sampling, and again in the loss. Where one optimizer step
        is taken on the whole batch at once, the weights are the same, and the loss gets the first scores again.
        """
        score = super()._get_per_token_logps_and_entropies
        # Several processes have to call the model equally often; a balancing loss is over all rows.
        if self._together or rest or options.get("compute_aux_loss"):
            scored: tuple[Any, Any, Any] = score(model, input_ids, attention_mask, logits_to_keep, *rest, **options)
            return scored
        options.pop("batch_size", None)
        in_loss = torch.is_grad_enabled()
        if in_loss and self._scores:
            return *self._scores.of(unpadded(input_ids, attention_mask)), None
        once = not in_loss and self._scores_serve_the_loss
        taught = self._rows_with_an_advantage() if once else self._taught
        if taught is None:
            taught = torch.ones_like(input_ids[:, 0], dtype=torch.bool)
        with torch.set_grad_enabled(in_loss or once):
            scores = score_rows(
                partial(score, model),
                input_ids,
                attention_mask,
                logits_to_keep,
                taught.to(input_ids.device),
                **options | {"compute_entropy": once or options.get("compute_entropy", False)},
            )
        if once:
            self._scores = scores
            return scores.logprobs.detach(), None, None
        return scores.logprobs, scores.entropies if options.get("compute_entropy") else None, None

    @property
    def _scores_serve_the_loss(self) -> bool:
        """Whether the scores before the loss are those in it, and may keep what a gradient needs until then."""
        optimizer, launch = self._config.optimizer, self._config.launch
        at_once = self._config.accumulation == optimizer.updates == 1
        return at_once and self.beta == 0 and not launch.gradient_checkpointing

    def _rows_with_an_advantage(self) -> torch.Tensor | None:
        """Return which rows of the batch can have an advantage; None where none has."""
        assert self._batch is not None
        taught = torch.tensor([not group.flat for group in self._batch.groups for _ in group.samples])
        return taught if taught.any() else None

    def _policy(self) -> Path | None:
        """Write the current policy and return its folder; None where it need not be published."""
        step = self.state.global_step
        if self._published is not None and step - self._published < self._config.publish_every:
            return None
        folder = self._policies / f"step-{step}"
        with _room_for(f"the policy of step {step}"):
            self.save_policy(folder)
        self.accelerator.wait_for_everyone()  # the first process has written it, all publish it
        self._published = step
        self._forget_policies()
        return self._unless_fresh(folder)

    def _unless_fresh(self, policy: Path) -> Path | None:
        """Return `policy` unless fresh generators have it: an adapter that has learned nothing changes nothing."""
        return None if self._published == 0 and self._pipeline.fresh else policy

    def _forget_policies(self) -> None:
        """Delete all policies but the newest two: a replica that comes back may still be given the older one."""
        if self.accelerator.is_main_process:
            for path in sorted(self._policies.glob("step-*"), key=step_of)[:-2]:
                shutil.rmtree(path, ignore_errors=True)

    def _plain_model(self) -> PeftModel:
        return self.accelerator.unwrap_model(self.model)

    # Checkpoints. One is written beside its place and moved there when it is whole, so that the last whole one
    # survives whatever happens.

    def _get_output_dir(self, *_: Any, **__: Any) -> str:
        return str(self._folder.checkpoints / ".writing")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        step = self.state.global_step
        writing = Path(self._get_output_dir())
        if self.accelerator.is_main_process:
            shutil.rmtree(writing, ignore_errors=True)
        made = writing / f"checkpoint-{step}"
        try:
            with _room_for(f"the checkpoint of step {step}"):
                super()._save_checkpoint(model, trial)
                if self.accelerator.is_main_process and self._config.rollout.staleness and self._config.lora:
                    sampler = f"step-{self._published}"  # samples the batch that is under way
                    shutil.copytree(self._policies / sampler, made / _SAMPLER / sampler)
        except Unavailable:
            shutil.rmtree(writing, ignore_errors=True)
            raise
        if self.accelerator.is_main_process:
            place = self._folder.checkpoints / made.name
            shutil.rmtree(place, ignore_errors=True)
            made.rename(place)
            self._rotate()
            self._pipeline.forget_before(step // self._config.optimizer.updates)

    def _rotate(self) -> None:
        for old in checkpoints(self._folder)[: -self._config.checkpoint.keep]:
            shutil.rmtree(old, ignore_errors=True)

    def move_reference(self) -> None:
        """Move the reference adapter where a step is due for it."""
        loss = self._config.loss
        if self._config.lora and loss.reference_every and self.state.global_step % loss.reference_every == 0:
            move_reference(self._plain_model(), loss.reference_mixup)

    @property
    def _together(self) -> bool:
        """Whether this is one of several processes."""
        return bool(self.accelerator.num_processes > 1)

    def at_stop(self) -> bool:
        """Whether to stop here: any process was asked to, and it is between two batches."""
        if self.state.global_step % self._config.optimizer.updates:
            return False
        asked = torch.tensor(float(self._stop_asked), device=self.accelerator.device)
        return bool(self.accelerator.reduce(asked) > 0)

    def finish_step(self, logs: Mapping[str, float]) -> None:
        """Tell of the optimizer step that TRL has just logged."""
        assert self._batch is not None
        now = time.monotonic()
        step_seconds = now - self._ended
        busy = self._pipeline.busy_seconds - self._busy_before
        metrics = (
            of_trl(logs)
            | of_batch(self._batch)
            | {
                "generate_seconds": self._batch.ended - self._batch.began,
                "train_seconds": step_seconds - self._waited,
                "step_seconds": step_seconds,
                "samples_per_s": self._config.batch / step_seconds,
                "trainer_idle": self._waited / step_seconds,
                "generator_idle": max(0.0, 1 - busy / step_seconds),
                "staleness": self._staleness(self._batch),
                "verify_timeouts": self._pipeline.rollouts.verifier.timeouts,
            }
        )
        self._on_step(self.state.global_step, metrics, self._batch)
        self._ended, self._waited, self._busy_before = now, 0.0, self._pipeline.busy_seconds

    def _staleness(self, batch: Batch) -> float:
        """Return how many optimizer steps the policies in `batch` are behind, on average over its segments."""
        base: int = self.state.global_step - 1 + batch.offset
        versions = [
            segment.policy_version
            for sample in batch.samples
            for segment in sample.trajectory.segments
            if segment.logprobs
        ]
        return float(sum(base - version for version in versions)) / max(len(versions), 1)


class _Reporter(TrainerCallback):  # type: ignore[misc]
    """Hears of every optimizer step once it is taken, and once it is logged."""

    def __init__(self, trainer: GrpoTrainer) -> None:
        self._trainer = trainer

    def on_step_end(self, *seen: Any, **_: Any) -> None:
        """Called with arguments, state and control."""
        self._trainer.move_reference()
        if self._trainer.at_stop():
            seen[2].should_save = seen[2].should_training_stop = True

    def on_log(self, *_: Any, logs: Mapping[str, float], **__: Any) -> None:
        """Called with what TRL logged."""
        if "loss" in logs:  # and not the summary at the end
            self._trainer.finish_step(logs)


@contextmanager
def _room_for(what: str) -> Iterator[None]:
    """Tell of a file that could not be written: torch, safetensors and the system each have an error of their own."""
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:200]
        raise Unavailable(
            f"{what} could not be written: {reason}. The last checkpoint is whole: make room and resume the run"
        ) from error


def step_of(path: Path) -> int:
    """Return the optimizer step that ends the name of a checkpoint or a policy."""
    return int(path.name.rpartition("-")[2])


def checkpoints(folder: RunFolder) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    return sorted(folder.checkpoints.glob("checkpoint-*"), key=step_of)


def first_published(checkpoint: Path) -> int:
    """Return the optimizer step of the policy that a run which goes on from `checkpoint` publishes first."""
    return step_of(sampler_of(checkpoint) or checkpoint)


def sampler_of(checkpoint: Path) -> Path | None:
    """Return the policy that sampled the batch under way when `checkpoint` was written."""
    return next((checkpoint / _SAMPLER).glob("step-*"), None)


def value_of(value: list[float | None], **_: Any) -> list[float | None]:
    """TRL's reward function: the reward that came with the rollout."""
    return value


def set_loss_temperature(model: Any, temperature: float) -> None:
    """Make the loss divide the logits by `temperature`, as sampling did.

    TRL reads its `temperature` once, into a closure around the model's forward.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    forward = base.forward.__func__
    cell = forward.__closure__[forward.__code__.co_freevars.index("temperature")]
    cell.cell_contents = temperature


def _lora(config: TrainConfig) -> LoraConfig:
    assert config.lora
    return LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,
        use_rslora=config.lora.rslora,
        lora_dropout=config.lora.dropout,
        target_modules=config.lora.targets,
        task_type="CAUSAL_LM",
    )


def _arguments(config: TrainConfig, folder: RunFolder) -> GRPOConfig:
    optimizer, loss = config.optimizer, config.loss
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.tensorboard)
    os.environ.setdefault("WANDB_PROJECT", _PROJECT)
    os.environ.setdefault("WANDB_DIR", str(folder.path))
    return GRPOConfig(
        output_dir=str(folder.checkpoints),
        run_name=folder.name,
        project=_PROJECT,
        report_to=config.report_to or "none",
        seed=config.seed,
        # the batch
        per_device_train_batch_size=optimizer.micro_batch,
        gradient_accumulation_steps=config.accumulation,
        steps_per_generation=config.accumulation * optimizer.updates,
        num_generations=config.rollout.samples,
        max_completion_length=config.rollout.max_tokens,
        temperature=config.rollout.temperature.start,
        top_p=1.0,
        top_k=0,
        # the loss
        loss_type=loss.type,
        epsilon=loss.epsilon,
        epsilon_high=loss.epsilon_high,
        beta=loss.beta,
        sync_ref_model=bool(loss.reference_every) and config.lora is None,
        ref_model_mixup_alpha=loss.reference_mixup,
        ref_model_sync_steps=loss.reference_every or 1,
        scale_rewards=loss.scale_rewards,
        vllm_importance_sampling_correction=loss.importance_correction,
        vllm_importance_sampling_mode="token_truncate",
        vllm_importance_sampling_clip_max=loss.importance_max,
        # the optimizer
        max_steps=optimizer.steps,
        learning_rate=optimizer.learning_rate,
        lr_scheduler_type="constant_with_warmup" if optimizer.schedule == "constant" else optimizer.schedule,
        warmup_steps=optimizer.warmup,
        adam_beta1=optimizer.beta1,
        adam_beta2=optimizer.beta2,
        weight_decay=optimizer.weight_decay,
        max_grad_norm=optimizer.max_grad_norm,
        # the machine
        use_cpu=config.launch.cpu,
        bf16=config.launch.dtype == "bfloat16",
        gradient_checkpointing=config.launch.gradient_checkpointing,
        # the bookkeeping
        logging_steps=1,
        disable_tqdm=True,
        save_strategy="steps",
        save_steps=config.checkpoint.every,
        ignore_data_skip=True,  # the order of the data is a function of the step
        remove_unused_columns=False,
    )
