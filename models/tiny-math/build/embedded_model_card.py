"""The model card: `card_template.md` filled in with the numbers of `scores.json`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

_TEMPLATE = Path(__file__).with_name("card_template.md")
_NAME = "tiny-math"

Scores = Mapping[str, Mapping[str, float]]
"""Fields of `ModelScore` by family, and `all`."""


def write_card(model: Path) -> None:
    """Write the README.md of `model` from its scores.json."""
    scores = json.loads((model / "scores.json").read_text(encoding="utf-8"))
    metadata = _metadata(scores["agent"], scores["plain"])
    card = ModelCard.from_template(metadata, template_path=str(_TEMPLATE), **fields_of(scores))
    card.save(model / "README.md")


def fields_of(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the template by name."""
    agent, plain = scores["agent"], scores["plain"]
    return {
        **_training_fields(scores["training"]),
        "test_problems": agent["all"]["problems"],
        "agent_accuracy": _percent(agent["all"]["accuracy"]),
        "code_use": _percent(agent["all"]["code_use"]),
        "accuracy_with_code": _percent(agent["all"]["accuracy_with_code"]),
        "tokens_with_code": f"{agent['all']['model_tokens_with_code']:.0f}",
        "plain_accuracy": _percent(plain["all"]["accuracy"]),
        "plain_tokens": f"{plain['all']['model_tokens']:.0f}",
        "difficulty_table": _difficulty_table(scores),
        "family_table": _family_table(scores),
    }


def _training_fields(training: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `build` reports, with numbers as text."""
    mixture = training["mixture"]
    return {
        **training,
        **{name: f"{training[name]:,}" for name in ("traces", "tokens_per_step", "parameters")},
        "corpus_tokens": f"{training['tokens']:,}",
        "decay_share": _percent(training["decay_share"]),
        "optimizers": "Muon for the matrices of the layers, AdamW for the rest" if training["muon"] else "AdamW",
        "difficulty_shares": f"{_percents(mixture['difficulty'])} %",
        "plain_shares": f"{_percents(mixture['plain_mode'])} %",
        "by_hand_shares": f"{_percents(mixture['by_hand'])} %",
        "verification": _verification(training),
    }


def _verification(training: Mapping[str, Any]) -> str:
    """Return how far the weights are known to be reproducible."""
    if verified := training.get("verified_steps"):
        return (
            f"For this model that has been checked up to step {verified:,} of {training['steps']:,}: a second training "
            "had the same weights, whose SHA-256 `scores.json` contains (`make tiny-model-check`)."
        )
    return "For this model that has not been checked (`make tiny-model-check`)."


def _metadata(agent: Scores, plain: Scores) -> ModelCardData:
    return ModelCardData(
        model_name=_NAME,
        license="apache-2.0",
        library_name="transformers",
        pipeline_tag="text-generation",
        language="en",
        tags=["math", "tool-use", "tiny", "qwen3"],
        eval_results=[_eval_result(mode, scores) for mode, scores in (("agent", agent), ("plain", plain))],
    )


def _eval_result(mode: str, scores: Scores) -> EvalResult:
    return EvalResult(
        task_type="text-generation",
        dataset_type="deepmath-synthetic",
        dataset_name="DeepMath synthetic problems",
        dataset_split="test",
        metric_type="accuracy",
        metric_name=f"accuracy in {mode} mode at temperature 1",
        metric_value=scores["all"]["accuracy"],
    )


def _difficulty_table(scores: Mapping[str, Any]) -> str:
    """Return a row for each difficulty, and one for all problems."""
    agent, plain = (scores["by_difficulty"][mode] | {"all": scores[mode]["all"]} for mode in ("agent", "plain"))
    headings = (
        *("difficulty", "problems", "agent: accuracy", "code use", "accuracy with code", "tokens"),
        *("plain: accuracy", "tokens"),
    )
    return _markdown(headings, ((level, *_cells(agent[level], plain[level])) for level in agent))


def _family_table(scores: Mapping[str, Any]) -> str:
    """Return a row for each family, with its accuracy at each difficulty."""
    agent, plain = scores["agent"], scores["plain"]
    cells = scores["by_cell"]
    headings = (
        *("family", "problems", "agent: accuracy", "at 1, 2, 3", "code use"),
        *("plain: accuracy", "at 1, 2, 3", "tokens, agent", "plain"),
    )
    rows = (
        (
            name,
            f"{row['problems']:.0f}",
            _percent(row["accuracy"]),
            _percents(cells["agent"][name].values()),
            _percent(row["code_use"]),
            _percent(plain[name]["accuracy"]),
            _percents(cells["plain"][name].values()),
            f"{row['model_tokens']:.0f}",
            f"{plain[name]['model_tokens']:.0f}",
        )
        for name, row in agent.items()
        if name != "all"
    )
    return _markdown(headings, rows)


def _cells(agent: Mapping[str, float], plain: Mapping[str, float]) -> Iterable[str]:
    yield f"{agent['problems']:.0f}"
    yield from (_percent(agent[name]) for name in ("accuracy", "code_use", "accuracy_with_code"))
    yield f"{agent['model_tokens']:.0f}"
    yield _percent(plain["accuracy"])
    yield f"{plain['model_tokens']:.0f}"


def _markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [headings, ["---", *["--:"] * (len(headings) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percents(shares: Iterable[float]) -> str:
    return ", ".join(f"{100 * share:.0f}" for share in shares)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
