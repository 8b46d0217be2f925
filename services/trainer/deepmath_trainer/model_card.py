"""The card of what was trained, as model hubs read it: README.md with YAML at its head."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from deepmath import __version__
from deepmath_trainer.run_config import TrainConfig

_LABELS = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("code_rate", "trajectories that call Python", "{:.1%}"),
    ("code_executed_rate", "trajectories with a call that ran", "{:.1%}"),
    ("model_tokens", "tokens written, on average", "{:.1f}"),
)


def write_card(adapter: Path, config: TrainConfig, evaluation: Mapping[str, Any]) -> Path:
    """Write the README.md of the model or LoRA adapter in the folder `adapter`, and the run's configuration beside it.

    No path of this machine stays in the folder, which is made to be published.
    """
    (adapter / "training.yaml").write_text(_portable(config))
    _name_base(adapter / "adapter_config.json", _base_model(config))
    card = adapter / "README.md"
    card.write_text(
        f"---\n{yaml.safe_dump(_metadata(config, evaluation), sort_keys=False)}---\n\n{_text(config, evaluation)}"
    )
    return card


def _base_model(config: TrainConfig) -> str:
    """Return the model's hub name, or the name of its folder: paths of a machine are nobody's business."""
    return _public(config.model_path)


def _title(config: TrainConfig) -> str:
    return config.name or f"{_public(Path(config.model).name)}-grpo"


def _public(name: str) -> str:
    return Path(name).name if Path(name).exists() else name


def _name_base(peft_config: Path, base: str) -> None:
    if peft_config.exists():
        values = json.loads(peft_config.read_text())
        peft_config.write_text(json.dumps(values | {"base_model_name_or_path": base}, indent=2))


def _portable(config: TrainConfig) -> str:
    """Return the configuration without this machine's addresses and folders."""
    data = config.data.model_copy(update={"dataset": _public(config.data.dataset)})
    public: dict[str, Any] = {"generators": [], "checkpoint_root": None, "model": _base_model(config), "data": data}
    return config.model_copy(update=public).to_yaml()


def _license(config: TrainConfig) -> dict[str, str]:
    """Return the license that the base model's card names; nothing where it is not at hand."""
    card = Path(config.model_path) / "README.md"
    head = card.read_text().split("---") if card.is_file() else []
    known = yaml.safe_load(head[1]) if len(head) > 2 and not head[0] else {}
    return {"license": known["license"]} if isinstance(known, dict) and "license" in known else {}


def _metadata(config: TrainConfig, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    kind = {"library_name": "peft"} if config.lora else {"library_name": "transformers"}
    return {
        **_license(config),
        "base_model": _base_model(config),
        **kind,
        "pipeline_tag": "text-generation",
        "tags": ["grpo", "trl", "math", "tool-use", *(["lora"] if config.lora else [])],
        **_results(config, evaluation),
    }


def _results(config: TrainConfig, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    if "after" not in evaluation:
        return {}
    name = _public(config.evaluation.data.dataset)
    dataset = {"name": name, "type": name}
    metric = {"type": "accuracy", "value": round(evaluation["after"]["accuracy"], 4)}
    result = {"task": {"type": "text-generation"}, "dataset": dataset, "metrics": [metric]}
    return {"model-index": [{"name": _title(config), "results": [result]}]}


def _text(config: TrainConfig, evaluation: Mapping[str, Any]) -> str:
    kind = f"LoRA adapter of rank {config.lora.rank} for" if config.lora else "Fine-tuned weights of"
    serve = "deepmath solve --model BASE --adapter FOLDER" if config.lora else "deepmath solve --model FOLDER"
    parts = [
        f"# {_title(config)}",
        f"{kind} {_base_model(config)}, trained with GRPO (TRL) by DeepMath services {__version__} to solve maths "
        "problems with short Python snippets, which a sandbox runs.",
        _figures(config, evaluation),
        f"## Training\n\n{_training(config)}\n\nAll settings are in `training.yaml`; the command was\n\n"
        "    deepmath train --config training.yaml",
        f'## Use\n\n    {serve} "What is 12 * 34?"',
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _figures(config: TrainConfig, evaluation: Mapping[str, Any]) -> str:
    sides = [when for when in ("before", "after") if when in evaluation]
    if not sides:
        return ""
    rows = [f"| | {' | '.join(sides)} |", "|---|" + "---|" * len(sides)]
    for name, label, form in _LABELS:
        rows.append(f"| {label} | {' | '.join(form.format(evaluation[side][name]) for side in sides)} |")
    data, one = config.evaluation.data, evaluation[sides[-1]]
    head = (
        f"## Results\n\n{one['problems']} problems of `{_public(data.dataset)}` ({data.split}), one sample each at "
        f"temperature {config.evaluation.temperature}, mode {config.rollout.mode}:\n\n"
    )
    return head + "\n".join(rows)


def _training(config: TrainConfig) -> str:
    data, rollout, reward, optimizer = config.data, config.rollout, config.reward, config.optimizer
    parts = (
        f"{optimizer.steps} optimizer steps on `{_public(data.dataset)}` ({data.split}), seed {config.seed}",
        f"batches of {rollout.groups} problems x {rollout.samples} samples",
        f"learning rate {optimizer.learning_rate:g} ({optimizer.schedule})",
        f"temperature {_temperature(config)}",
        f"loss {config.loss.type}, beta {config.loss.beta}",
        f"reward accuracy {reward.accuracy} + code ({reward.code_use}) {reward.code}",
    )
    return "; ".join(parts) + "."


def _temperature(config: TrainConfig) -> str:
    schedule = config.rollout.temperature
    if schedule.start == schedule.end:
        return f"{schedule.start}"
    return f"{schedule.start} to {schedule.end} over {schedule.steps} steps"
