"""What a training run can be told: a YAML file, and `key.sub=value` over it."""

import difflib
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.local_stack.stack import EMBEDDED_MODEL

RECIPES = Path(str(files("deepmath_trainer") / "recipes"))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class DataConfig(_Section):
    """Problems with their right answers. Solutions are never read."""

    dataset: str = Field("synthetic", description="`synthetic`, a file or folder, or a hub name.")
    subset: str | None = Field(None, description="Configuration of a hub dataset.")
    split: str = Field("train", description="Split of the dataset.")
    problem: str | None = Field(None, description="Column of the question. Default: `problem`.")
    answer: str | None = Field(None, description="Column of the right answer. Default: `answer`, or the dataset's own.")
    where: dict[str, str | int | float | bool] = Field({}, description="Keep rows whose columns have these values.")
    max_problem_chars: int | None = Field(None, gt=0, description="Leave longer questions out.")
    limit: int | None = Field(None, gt=0, description="At most this many problems; of `synthetic`, default 4096.")
    most_unparseable: float = Field(0.2, ge=0, le=1, description="Share of unparseable gold answers that is an error.")


class Temperature(_Section):
    """Linear from `start` to `end` over `steps` optimizer steps, then constant."""

    start: float = Field(1.0, gt=0, le=2)
    end: float = Field(1.0, gt=0, le=2)
    steps: int = Field(1, gt=0)


class RolloutConfig(_Section):
    """How a batch is sampled: `groups` problems, each `samples` times."""

    mode: Literal["agent", "plain"] = "agent"
    groups: int = Field(8, gt=0, description="Problems in a batch.")
    samples: int = Field(8, gt=1, description="Trajectories of each problem; their mean is the baseline.")
    temperature: Temperature = Temperature()
    staleness: Literal[0, 1] = Field(1, description="1: the next batch is sampled while one is trained on.")
    resample_flat: int = Field(0, ge=0, description="Times to replace groups whose rewards are all equal.")
    max_tokens: int = Field(5000, gt=0, description="Tokens of a trajectory, the tools' included.")
    max_steps: int = Field(50, gt=0)
    max_step_tokens: int = Field(3000, gt=0)
    snippet_ms: int = Field(20_000, gt=0)
    executor_ms: int = Field(300_000, gt=0)
    wall_ms: int = Field(1_800_000, gt=0)

    @property
    def request(self) -> dict[str, Any]:
        """Mode and budget as generators are told them."""
        mode = pb.MODE_PLAIN if self.mode == "plain" else pb.MODE_AGENT
        return {"mode": mode, "budget": pb.Budget(**self.model_dump(include=set(pb.Budget.DESCRIPTOR.fields_by_name)))}


class RewardConfig(_Section):
    """Weights of the rewards. The sum of all parts is a trajectory's reward."""

    accuracy: float = Field(1.0, ge=0)
    code: float = Field(0.1, ge=0)
    code_use: Literal["called", "executed", "used"] = Field(
        "executed", description="What counts: any call, a call that succeeded, or an output that was used."
    )
    length: float = Field(0.0, ge=0, description="Taken off at `max_tokens`; linear from `length_free` tokens on.")
    length_free: int = Field(0, ge=0, description="Model tokens that cost nothing.")
    overlong: Literal["keep", "zero", "mask"] = Field(
        "keep", description="A trajectory that hit a token budget: as any other, reward 0, or no loss."
    )
    verify_seconds: float = Field(5.0, gt=0, description="For one answer; then it has no reward.")
    verify_workers: int = Field(2, gt=0, description="Processes that compare answers.")


class LoraConfig(_Section):
    """The adapter that is trained, as peft has it."""

    rank: int = Field(32, gt=0)
    alpha: int = Field(16, gt=0)
    rslora: bool = True
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: list[str] | Literal["all-linear"] = "all-linear"


class OptimizerConfig(_Section):
    """AdamW and its schedule."""

    steps: int = Field(100, gt=0, description="Optimizer steps of the run.")
    learning_rate: float = Field(1e-6, gt=0)
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    warmup: float = Field(0.1, ge=0, lt=1, description="Share of the steps.")
    beta1: float = Field(0.9, ge=0, lt=1)
    beta2: float = Field(0.999, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    micro_batch: int = Field(8, gt=0, description="Trajectories in one backward pass on one device.")
    updates: int = Field(1, gt=0, description="Optimizer steps on one batch of rollouts.")


class LossConfig(_Section):
    """The loss, as TRL's GRPOTrainer has it."""

    type: Literal["grpo", "dapo", "bnpo", "dr_grpo", "cispo"] = "dapo"
    epsilon: float = Field(0.2, gt=0)
    epsilon_high: float | None = Field(None, gt=0, description="Default: `epsilon`.")
    beta: float = Field(0.0, ge=0, description="Weight of the KL divergence from the reference.")
    reference_every: int | None = Field(None, gt=0, description="Steps after which the reference is moved.")
    reference_mixup: float = Field(0.6, gt=0, le=1, description="How far it then moves to the policy.")
    scale_rewards: Literal["group", "batch", "none"] = "group"
    importance_correction: bool = Field(True, description="Weigh tokens by policy over sampler, truncated.")
    importance_max: float = Field(3.0, gt=0, description="The weights are truncated here (`token_truncate`).")


class LaunchConfig(_Section):
    """On how many devices. Over one, `accelerate launch` starts the processes."""

    processes: int = Field(1, gt=0)
    accelerate: str | None = Field(
        None, description="A configuration of accelerate: a file, `fsdp`, `deepspeed-zero3`."
    )
    dtype: Literal["float32", "bfloat16"] = "bfloat16"
    cpu: bool = Field(False, description="Train on the processor even where there is a GPU.")
    threads: int | None = Field(None, gt=0, description="Threads of torch on a processor.")
    gradient_checkpointing: bool = False


class CheckpointConfig(_Section):
    """What is kept to go on from."""

    every: int = Field(50, gt=0, description="Optimizer steps.")
    keep: int = Field(2, gt=0, description="The latest ones; older ones are deleted.")


class EvaluationConfig(_Section):
    """One sample for each of some test problems before and after. 0 problems: none."""

    problems: int = Field(0, ge=0)
    data: DataConfig = DataConfig(split="test")
    temperature: float = Field(1.0, ge=0, le=2)


class TrainConfig(_Section):
    """A run."""

    model: str = Field(description="Directory or hub name; `tiny-math` is the embedded one.")
    name: str | None = Field(None, description="Of the run and its folder. Default: the recipe's, with the seed.")
    seed: int = Field(0, ge=0)
    generators: list[str] = Field([], description="Addresses, one of each replica. None: `deepmath train` starts one.")
    prompt: str | None = Field(None, description="Prompt template for a generator that `deepmath train` starts.")
    checkpoint_root: str | None = Field(
        None, description="Folder that the generators can read too; without LoRA the weights go there."
    )
    data: DataConfig = DataConfig()
    rollout: RolloutConfig = RolloutConfig()
    reward: RewardConfig = RewardConfig()
    lora: LoraConfig | None = LoraConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    loss: LossConfig = LossConfig()
    publish_every: int = Field(1, gt=0, description="Optimizer steps after which generators get the new policy.")
    launch: LaunchConfig = LaunchConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    report_to: list[Literal["tensorboard", "wandb", "trackio"]] = ["tensorboard"]
    traces: int = Field(2, ge=0, description="Sample traces kept of each step.")

    @property
    def model_path(self) -> str:
        """The model's directory or hub name."""
        return str(EMBEDDED_MODEL) if self.model == EMBEDDED_MODEL.name else self.model

    @property
    def batch(self) -> int:
        """Trajectories in a batch of rollouts, over all processes."""
        return self.rollout.groups * self.rollout.samples

    @property
    def accumulation(self) -> int:
        """Backward passes of an optimizer step on each process."""
        return self.batch // (self.launch.processes * self.optimizer.micro_batch * self.optimizer.updates)

    @model_validator(mode="after")
    def _check_arithmetic(self) -> Self:
        processes, optimizer = self.launch.processes, self.optimizer
        if self.rollout.groups % processes:
            raise ValueError(
                f"rollout.groups is {self.rollout.groups} and launch.processes {processes}: each process trains on "
                "whole groups, so give a multiple"
            )
        share = processes * optimizer.micro_batch * optimizer.updates
        if self.batch % share:
            raise ValueError(
                f"a batch of {self.rollout.groups} groups x {self.rollout.samples} samples = {self.batch} trajectories "
                f"cannot be cut into launch.processes {processes} x optimizer.micro_batch {optimizer.micro_batch} x "
                f"optimizer.updates {optimizer.updates} = {share}; make it a multiple"
            )
        for name, every in (("optimizer.steps", optimizer.steps), ("checkpoint.every", self.checkpoint.every)):
            if every % optimizer.updates:
                raise ValueError(
                    f"{name} is {every} and optimizer.updates {optimizer.updates}: give a multiple, so that it falls "
                    "between two batches"
                )
        if self.lora is None and not self.checkpoint_root:
            raise ValueError(
                "lora is off, so all weights have to reach the generators: set checkpoint_root to a folder that they "
                "read too, and start them with the same --checkpoint-root"
            )
        if self.loss.reference_every and not self.loss.beta:
            raise ValueError("loss.reference_every is set and loss.beta is 0: there is no reference to move")
        return self

    def to_yaml(self) -> str:
        """Return the whole configuration, defaults included."""
        text: str = yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)
        return text


def read(recipe: str) -> str:
    """Return the text of a recipe.

    Raises:
        InvalidRequest: there is none of that name.
    """
    names = sorted(path.stem for path in RECIPES.glob("*.yaml"))
    if recipe not in names:
        near = difflib.get_close_matches(recipe, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(names)}"
        raise InvalidRequest(f"there is no file and no recipe {recipe!r}{hint}")
    return (RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8")


def load(text: str, overrides: Sequence[str] = ()) -> TrainConfig:
    """Return the configuration that `text` describes, with `key.sub=value` strings over it.

    Raises:
        InvalidRequest: it is malformed; every mistake is named, an unknown key with the nearest known one.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidRequest(f"the configuration is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise InvalidRequest("the configuration must be a mapping; it needs at least `model: NAME`")
    for override in overrides:
        _set(values, override)
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        raise InvalidRequest("; ".join(_explained(error))) from None


def _set(values: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not path:
        raise InvalidRequest(f"{override!r} sets nothing: write KEY=VALUE, such as optimizer.steps=50")
    *sections, key = path.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise InvalidRequest(f"{override!r}: {section} is a value and has no parts")
        values = inner
    try:
        values[key] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise InvalidRequest(f"{override!r}: the value is no YAML; put it in quotes") from None


def _explained(error: ValidationError) -> Iterator[str]:
    for mistake in error.errors():
        where = ".".join(map(str, mistake["loc"]))
        if mistake["type"] == "extra_forbidden":
            yield f"{where} is no setting{_nearest(mistake['loc'])}"
        elif mistake["type"] == "missing":
            yield f"{where} is missing"
        elif mistake["type"] == "value_error":
            yield str(mistake["ctx"]["error"])
        else:
            message = mistake["msg"][0].lower() + mistake["msg"][1:]
            yield f"{where} is {mistake['input']!r}: {message}"


def _nearest(path: tuple[int | str, ...]) -> str:
    section: type[BaseModel] = TrainConfig
    for name in path[:-1]:
        found = _section(section.model_fields[str(name)].annotation)
        if found is None:
            return ""
        section = found
    near = difflib.get_close_matches(str(path[-1]), section.model_fields, n=1, cutoff=0.4)
    return f"; did you mean {'.'.join([*map(str, path[:-1]), near[0]])}?" if near else ""


def _section(annotation: Any) -> type[BaseModel] | None:
    candidates = (annotation, *get_args(annotation))
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
