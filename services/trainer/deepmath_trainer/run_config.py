"""The configuration of a training run, in sections."""

from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator

from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect_setting import DialectName
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL
from deepmath.serving.path_settings import NameOrPath


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DataConfig(_Section):
    """Problems with their gold answers. Solutions are never read."""

    dataset: NameOrPath = Field(
        "synthetic",
        description="`synthetic`, a file or folder, a name on the Hugging Face hub, or `reasoning-gym:TASK` or a mix.",
    )
    subset: str | None = Field(None, description="Configuration of a hub dataset.")
    split: str = Field("train", description="Split of the dataset.")
    problem: str | None = Field(None, description="Column with the question. Default: `problem`.")
    answer: str | None = Field(
        None, description="Column with the gold answer. Default: `answer`, or the known one of the dataset."
    )
    where: dict[str, str | int | float | bool] = Field({}, description="Use only rows whose columns have these values.")
    max_problem_chars: int | None = Field(None, gt=0, description="Exclude questions longer than this, in characters.")
    limit: int | None = Field(
        None, gt=0, description="Maximum number of problems. Default for `synthetic`: 4096, for reasoning-gym: 1000."
    )
    most_unparseable: float = Field(0.2, ge=0, le=1, description="Largest tolerated share of unparseable gold answers.")


class CurriculumConfig(_Section):
    """The order of the problems."""

    order: Literal["uniform", "pass_rate"] = Field(
        "uniform",
        description="`uniform`: every problem once per epoch. `pass_rate`: more often those that some of a group's "
        "samples are estimated to solve.",
    )
    floor: float = Field(
        0.1, ge=0, le=1, description="With `pass_rate`: share of the draws that all problems have equally."
    )


class TemperatureConfig(_Section):
    """Linear from `start` to `end` over `steps` optimizer steps, then constant."""

    start: float = Field(1.0, gt=0, le=2, description="Temperature at the first step.")
    end: float = Field(1.0, gt=0, le=2, description="Temperature from step `steps` on.")
    steps: int = Field(1, gt=0, description="Optimizer steps from `start` to `end`.")


class RolloutConfig(_Section):
    """Sampling of a batch: `groups` problems, each `samples` times."""

    mode: Literal["agent", "plain"] = Field("agent", description="With Python (agent) or without (plain).")
    groups: int = Field(8, gt=0, description="Problems per batch.")
    samples: int = Field(8, gt=1, description="Trajectories per problem; their mean reward is the baseline.")
    temperature: TemperatureConfig = TemperatureConfig()
    staleness: Literal[0, 1] = Field(1, description="1: sample the next batch during training. 0: alternate.")
    resample_flat: int = Field(0, ge=0, description="How often to replace a group whose rewards are all equal.")
    max_tokens: int = Field(5000, gt=0, description="Tokens per trajectory, including those of tools.")
    max_steps: int = Field(50, gt=0, description="Steps per trajectory: generations up to a tool call.")
    max_step_tokens: int = Field(3000, gt=0, description="Tokens per step.")
    snippet_ms: int = Field(20_000, gt=0, description="Time limit of a snippet, in milliseconds.")
    executor_ms: int = Field(300_000, gt=0, description="Time limit of a trajectory's snippets, in milliseconds.")
    wall_ms: int = Field(1_800_000, gt=0, description="Time limit of a trajectory, in milliseconds.")

    @property
    def request(self) -> dict[str, Any]:
        """Mode and budget of a rollout request."""
        mode = pb.MODE_PLAIN if self.mode == "plain" else pb.MODE_AGENT
        return {"mode": mode, "budget": pb.Budget(**self.model_dump(include=set(pb.Budget.DESCRIPTOR.fields_by_name)))}


class RewardConfig(_Section):
    """Weights of the rewards. The sum of all parts is a trajectory's reward."""

    accuracy: float = Field(1.0, ge=0, description="Reward of a correct answer.")
    partial_credit: bool = Field(
        True, description="Multiply `accuracy` by the score of a problem's own scorer (reasoning-gym), if it has one."
    )
    code: float = Field(0.1, ge=0, description="Reward of code use.")
    code_use: Literal["called", "executed", "used"] = Field(
        "executed", description="What counts as code use: any call, a call that succeeded, or an output that was used."
    )
    length: float = Field(0.0, ge=0, description="Penalty at `max_tokens`, linear from `length_free`.")
    length_free: int = Field(0, ge=0, description="Model tokens without a penalty.")
    overlong: Literal["keep", "zero", "mask"] = Field(
        "keep", description="Trajectories that hit a token budget: normal reward, reward 0, or no loss."
    )
    verify_seconds: float = Field(
        5.0, gt=0, description="Timeout for verifying one answer, in seconds; an answer that exceeds it is incorrect."
    )
    verify_workers: int = Field(2, gt=0, description="Concurrent comparisons.")


class LoraSettings(_Section):
    """The LoRA adapter, in peft's terms."""

    rank: int = Field(32, gt=0, description="Rank.")
    alpha: int = Field(16, gt=0, description="Scaling: alpha / rank, or alpha / sqrt(rank) with `rslora`.")
    rslora: bool = Field(True, description="Rank-stabilized scaling.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout probability.")
    targets: list[str] | Literal["all-linear"] = Field("all-linear", description="Names of the adapted modules.")


class OptimizerConfig(_Section):
    """AdamW and its learning-rate schedule."""

    steps: int = Field(100, gt=0, description="Optimizer steps of the run.")
    learning_rate: float = Field(1e-6, gt=0, description="Peak learning rate.")
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="Learning rate after the warm-up.")
    warmup: float = Field(0.1, ge=0, lt=1, description="Length of the linear warm-up, as a share of the steps.")
    beta1: float = Field(0.9, ge=0, lt=1, description="AdamW's beta1.")
    beta2: float = Field(0.999, ge=0, lt=1, description="AdamW's beta2.")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient norm at which gradients are clipped.")
    micro_batch: int = Field(8, gt=0, description="Trajectories per backward pass and device.")
    updates: int = Field(1, gt=0, description="Optimizer steps per batch.")


class LossConfig(_Section):
    """The loss, in the terms of TRL's GRPOTrainer."""

    type: Literal["grpo", "dapo", "bnpo", "dr_grpo", "cispo"] = Field("dapo", description="Normalization of the loss.")
    epsilon: float = Field(0.2, gt=0, description="Lower clip range of the policy ratio.")
    epsilon_high: float | None = Field(None, gt=0, description="Upper clip range. Default: `epsilon`.")
    beta: float = Field(0.0, ge=0, description="Coefficient of the KL divergence from the reference.")
    reference_every: int | None = Field(None, gt=0, description="Steps between updates of the reference.")
    reference_mixup: float = Field(0.6, gt=0, le=1, description="Share of the policy in an update of the reference.")
    scale_rewards: Literal["group", "batch", "none"] = Field(
        "group", description="Scope of the standard deviation by which advantages are divided."
    )
    importance_correction: bool = Field(True, description="Weight tokens by the truncated ratio of policy to sampler.")
    importance_max: float = Field(
        3.0, gt=0, description="Value at which these weights are truncated (`token_truncate`)."
    )


class LaunchConfig(_Section):
    """Devices. Several processes are started with `accelerate launch`."""

    processes: int = Field(1, gt=0, description="Training processes, one per device.")
    accelerate: NameOrPath | None = Field(
        None, description="Accelerate configuration: a file, `fsdp` or `deepspeed-zero3`."
    )
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "bfloat16", description="Data type of the weights. auto: bfloat16, except on a CPU that has to convert it."
    )
    cpu: bool = Field(False, description="Train on the CPU even if there is a GPU.")
    threads: int | None = Field(None, gt=0, description="Torch threads on a CPU.")
    gradient_checkpointing: bool = Field(
        False, description="Recompute activations in the backward pass to save memory."
    )


class CheckpointConfig(_Section):
    """Checkpoints, from which a run resumes."""

    every: int = Field(50, gt=0, description="Optimizer steps between checkpoints.")
    keep: int = Field(2, gt=0, description="Checkpoints to keep; older ones are deleted.")


class EvaluationConfig(_Section):
    """Evaluation before and after training, one sample per test problem."""

    problems: int = Field(0, ge=0, description="Test problems. 0: no evaluation.")
    data: DataConfig = DataConfig(split="test")
    decontaminate: bool = Field(True, description="Exclude training problems that repeat a test problem.")
    temperature: float = Field(1.0, ge=0, le=2, description="Sampling temperature.")


class TrainConfig(_Section):
    """A training run."""

    model: NameOrPath = Field(description="Directory or hub name of the model; `tiny-math` is the embedded one.")
    name: str | None = Field(
        None, description="Name of the run and its folder. Default: that of the recipe, with the seed."
    )
    seed: int = Field(0, ge=0, description="Seed of data order, sampling and initialization.")
    generators: list[str] = Field(
        [], description="Addresses of the generator replicas. Default: `deepmath train` starts one."
    )
    generator_patience_s: float = Field(
        600.0, gt=0, description="Time to wait for generators that are not ready before the run fails, in seconds."
    )
    prompt: NameOrPath | None = Field(None, description="Prompt template of a generator that `deepmath train` starts.")
    dialect: DialectName | None = Field(
        None,
        description=f"Dialect, which every generator must have: {', '.join(DIALECTS)}, or one of another package. "
        "Default: that of the prompt template or the model.",
    )
    checkpoint_root: NameOrPath | None = Field(
        None,
        description="Without LoRA: the generators' `--checkpoint-root`, which has to contain the folder of the runs.",
    )
    data: DataConfig = DataConfig()
    curriculum: CurriculumConfig = CurriculumConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    lora: LoraSettings | None = LoraSettings()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    publish_every: int = Field(1, gt=0, description="Optimizer steps between published policies.")
    launch: LaunchConfig = LaunchConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = Field(
        ["tensorboard"], description="Experiment trackers."
    )
    traces: int = Field(2, ge=0, description="Sample traces logged per step.")

    @property
    def model_path(self) -> str:
        """The model's directory or hub name."""
        return str(EMBEDDED_MODEL) if self.model == EMBEDDED_MODEL.name else self.model

    @property
    def batch(self) -> int:
        """Trajectories in a batch, over all processes."""
        return self.rollout.groups * self.rollout.samples

    @property
    def accumulation(self) -> int:
        """Backward passes per optimizer step in each process."""
        return self.batch // (self.launch.processes * self.optimizer.micro_batch * self.optimizer.updates)

    @model_validator(mode="after")
    def _check_arithmetic(self) -> Self:
        processes, optimizer = self.launch.processes, self.optimizer
        if self.rollout.groups % processes:
            raise ValueError(
                f"rollout.groups is {self.rollout.groups} and launch.processes {processes}: each process trains on "
                "whole groups; set a multiple"
            )
        share = processes * optimizer.micro_batch * optimizer.updates
        if self.batch % share:
            raise ValueError(
                f"a batch of {self.rollout.groups} groups x {self.rollout.samples} samples = {self.batch} trajectories "
                f"cannot be divided into launch.processes {processes} x optimizer.micro_batch {optimizer.micro_batch} "
                f"x optimizer.updates {optimizer.updates} = {share}; set a multiple"
            )
        for name, every in (("optimizer.steps", optimizer.steps), ("checkpoint.every", self.checkpoint.every)):
            if every % optimizer.updates:
                raise ValueError(
                    f"{name} is {every} and optimizer.updates {optimizer.updates}; it must fall between two batches: "
                    "set a multiple"
                )
        if self.lora is None and not self.checkpoint_root:
            raise ValueError(
                "lora is off, so the generators read all weights from the run's folder: set checkpoint_root to a "
                "folder that contains it, and start them with the same --checkpoint-root"
            )
        if self.loss.reference_every and not self.loss.beta:
            raise ValueError("loss.reference_every is set, but loss.beta is 0, so there is no reference to update")
        return self

    def to_yaml(self) -> str:
        """Return the complete configuration, including defaults."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return text
