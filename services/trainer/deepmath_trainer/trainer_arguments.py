"""The arguments of TRL's trainer and of peft's adapter for a run."""

import os
from typing import Any

from deepmath_trainer.run_config import LoraSettings, TrainConfig
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.weight_type import weight_type

_PROJECT = "deepmath"  # default project in W&B and trackio
_LONGEST_EVALUATION_S = 6 * 3600  # by the first process, while the others wait for it


def lora_arguments(lora: LoraSettings) -> dict[str, Any]:
    """Return the arguments of `peft.LoraConfig`."""
    return {
        "r": lora.rank,
        "lora_alpha": lora.alpha,
        "use_rslora": lora.rslora,
        "lora_dropout": lora.dropout,
        "target_modules": lora.targets,
        "task_type": "CAUSAL_LM",
    }


def set_tracker_environment(folder: RunFolder) -> None:
    """Direct the experiment trackers to the run's folder, unless the user's environment directs W&B elsewhere."""
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(folder.tensorboard)
    os.environ.setdefault("WANDB_PROJECT", _PROJECT)
    os.environ.setdefault("WANDB_DIR", str(folder.path))


def grpo_arguments(config: TrainConfig, folder: RunFolder) -> dict[str, Any]:
    """Return the arguments of `trl.GRPOConfig`."""
    return {
        "output_dir": str(folder.checkpoints),
        "run_name": folder.name,
        "project": _PROJECT,
        "report_to": config.report_to or "none",
        "seed": config.seed,
        "use_cpu": config.launch.cpu,
        # A process waits in a collective for one that evaluates or has no generator: longer than the default of 1800 s.
        "ddp_timeout": _LONGEST_EVALUATION_S + int(config.generator_patience_s),
        "bf16": weight_type(config.launch) == "bfloat16",
        "gradient_checkpointing": config.launch.gradient_checkpointing,
        "logging_steps": 1,
        "disable_tqdm": True,
        "save_strategy": "steps",
        "save_steps": config.checkpoint.every,
        "ignore_data_skip": True,  # the order of the data is a function of the step
        "remove_unused_columns": False,
        **_batch(config),
        **_loss(config),
        **_optimizer(config),
    }


def _batch(config: TrainConfig) -> dict[str, Any]:
    return {
        "per_device_train_batch_size": config.optimizer.micro_batch,
        "gradient_accumulation_steps": config.accumulation,
        "steps_per_generation": config.accumulation * config.optimizer.updates,
        "num_generations": config.rollout.samples,
        "max_completion_length": config.rollout.max_tokens,
        "temperature": config.rollout.temperature.start,
        "top_p": 1.0,
        "top_k": 0,
    }


def _loss(config: TrainConfig) -> dict[str, Any]:
    loss = config.loss
    return {
        "loss_type": loss.type,
        "epsilon": loss.epsilon,
        "epsilon_high": loss.epsilon_high,
        "beta": loss.beta,
        "sync_ref_model": bool(loss.reference_every) and config.lora is None,
        "ref_model_mixup_alpha": loss.reference_mixup,
        "ref_model_sync_steps": loss.reference_every or 1,
        "scale_rewards": loss.scale_rewards,
        "vllm_importance_sampling_correction": loss.importance_correction,
        "vllm_importance_sampling_mode": "token_truncate",
        "vllm_importance_sampling_clip_max": loss.importance_max,
    }


def _optimizer(config: TrainConfig) -> dict[str, Any]:
    optimizer = config.optimizer
    return {
        "max_steps": optimizer.steps,
        "learning_rate": optimizer.learning_rate,
        "lr_scheduler_type": "constant_with_warmup" if optimizer.schedule == "constant" else optimizer.schedule,
        "warmup_steps": optimizer.warmup,  # below 1: a share of the steps
        "adam_beta1": optimizer.beta1,
        "adam_beta2": optimizer.beta2,
        "weight_decay": optimizer.weight_decay,
        "max_grad_norm": optimizer.max_grad_norm,
    }
