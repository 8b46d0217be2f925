"""The model card of a trained model or adapter: README.md with the hub's metadata at its head."""

import json
from collections.abc import Mapping
from pathlib import Path
from textwrap import indent
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from deepmath import __version__
from deepmath.dialects import known_dialect
from deepmath.dialects.dialect import TranscriptPart
from deepmath.printable_text import markdown_text
from deepmath_trainer.run_config import DataConfig, TrainConfig

_LABELS = (
    ("accuracy", "accuracy", "{:.1%}"),
    ("code_rate", "trajectories with a tool call", "{:.1%}"),
    ("code_executed_rate", "trajectories with a successful call", "{:.1%}"),
    ("model_tokens", "mean output tokens", "{:.1f}"),
)


def write_card(adapter: Path, config: TrainConfig, evaluation: Mapping[str, Any], dialect: str = "") -> Path:
    """Write the README.md of the model or LoRA adapter in the folder `adapter`, and the run's configuration beside it.

    `dialect` is that of the trained trajectories, by default the configured one.
    The folder is meant to be published: no path or address of this machine remains in it.
    """
    config = config.model_copy(update={"dialect": dialect or config.dialect})
    (adapter / "training.yaml").write_text(_public_config(config))
    _name_base_model(adapter / "adapter_config.json", _base_model(config))
    metadata = _metadata(config, evaluation).to_yaml(line_break="\n")
    path = adapter / "README.md"
    ModelCard(f"---\n{metadata}\n---\n\n{_text(config, evaluation)}").save(path)
    return path


def _base_model(config: TrainConfig) -> str:
    """Return the hub name of the model, or the name of its folder instead of a local path."""
    return _public(config.model_path)


def _title(config: TrainConfig) -> str:
    return config.name or f"{_public(Path(config.model).name)}-grpo"


def _public(name: str) -> str:
    return Path(name).name if Path(name).exists() else name


def _name_base_model(peft_config: Path, base: str) -> None:
    if peft_config.exists():
        values = json.loads(peft_config.read_text())
        peft_config.write_text(json.dumps(values | {"base_model_name_or_path": base}, indent=2))


def _public_config(config: TrainConfig) -> str:
    """Return the configuration without this machine's addresses and folders."""
    data = config.data.model_copy(update={"dataset": _public(config.data.dataset)})
    public: dict[str, Any] = {"generators": [], "checkpoint_root": None, "model": _base_model(config), "data": data}
    return config.model_copy(update=public).to_yaml()


def _license(config: TrainConfig) -> str | None:
    """Return the license in the base model's card; None if there is no local card or no license in it."""
    path = Path(config.model_path) / "README.md"
    if not path.is_file():
        return None
    found: str | None = ModelCard.load(path, ignore_metadata_errors=True).data.get("license")
    return found


def _metadata(config: TrainConfig, evaluation: Mapping[str, Any]) -> ModelCardData:
    return ModelCardData(
        base_model=_base_model(config),
        library_name="peft" if config.lora else "transformers",
        license=_license(config),
        model_name=_title(config),
        pipeline_tag="text-generation",
        tags=["grpo", "trl", "math", "tool-use", *(["lora"] if config.lora else [])],
        eval_results=_eval_results(config, evaluation),
    )


def _eval_results(config: TrainConfig, evaluation: Mapping[str, Any]) -> list[EvalResult] | None:
    if "after" not in evaluation:
        return None
    dataset = _public(config.evaluation.data.dataset)
    accuracy = round(evaluation["after"]["accuracy"], 4)
    return [EvalResult("text-generation", dataset, dataset, metric_type="accuracy", metric_value=accuracy)]


def _text(config: TrainConfig, evaluation: Mapping[str, Any]) -> str:
    kind = f"LoRA adapter of rank {config.lora.rank} for" if config.lora else "Fine-tuned weights of"
    serve = "deepmath solve --model BASE --adapter FOLDER" if config.lora else "deepmath solve --model FOLDER"
    dialect = config.dialect if config.rollout.mode == "agent" else None
    serve += f" --dialect {dialect}" if dialect else ""
    parts = [
        f"# {markdown_text(_title(config))}",
        f"{kind} {markdown_text(_base_model(config))}, fine-tuned with GRPO (TRL) by DeepMath services {__version__} "
        "to solve maths problems with short Python snippets that run in a sandbox.",
        _results(config, evaluation),
        f"## Training\n\n{_training(config)}\n\n`training.yaml` has all settings. To repeat the run:\n\n"
        "    deepmath train --config training.yaml",
        f'## Use\n\n    {serve} "What is 12 * 34?"',
        _calls(dialect) if dialect else "",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _calls(dialect: str) -> str:
    """Return how the model writes a call and reads its output."""
    call = TranscriptPart("call", "print(12 * 34)")
    text = known_dialect(dialect).write([call, TranscriptPart("output", "408")]).strip()
    return f"It calls Python in the dialect {markdown_text(dialect)}, here with an output:\n\n{indent(text, ' ' * 4)}"


def _results(config: TrainConfig, evaluation: Mapping[str, Any]) -> str:
    columns = [when for when in ("before", "after") if when in evaluation]
    if not columns:
        return ""
    rows = [f"| | {' | '.join(columns)} |", "|---|" + "---|" * len(columns)]
    for name, label, form in _LABELS:
        rows.append(f"| {label} | {' | '.join(form.format(evaluation[when][name]) for when in columns)} |")
    data, problems = config.evaluation.data, evaluation[columns[-1]]["problems"]
    introduction = (
        f"## Results\n\n{problems} problems of {_data_source(data)}, one sample each at "
        f"temperature {config.evaluation.temperature}, mode {config.rollout.mode}:\n\n"
    )
    return introduction + "\n".join(rows)


def _training(config: TrainConfig) -> str:
    data, rollout, reward, optimizer = config.data, config.rollout, config.reward, config.optimizer
    parts = (
        f"{optimizer.steps} optimizer steps on {_data_source(data)}, seed {config.seed}",
        f"batches of {rollout.groups} problems x {rollout.samples} samples",
        f"learning rate {optimizer.learning_rate:g} ({optimizer.schedule})",
        f"temperature {_temperature(config)}",
        f"loss {config.loss.type}, beta {config.loss.beta}",
        f"reward accuracy {reward.accuracy} + code ({reward.code_use}) {reward.code}",
    )
    return "; ".join(parts) + "."


def _data_source(data: DataConfig) -> str:
    return f"{markdown_text(_public(data.dataset))} ({markdown_text(data.split)})"


def _temperature(config: TrainConfig) -> str:
    schedule = config.rollout.temperature
    if schedule.start == schedule.end:
        return f"{schedule.start}"
    return f"{schedule.start} to {schedule.end} over {schedule.steps} steps"
