"""The model card: `card_template.md` filled in with the numbers of `scores.json`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard, ModelCardData

_TEMPLATE = Path(__file__).with_name("card_template.md")
_NAME = "tiny-math"

Scores = Mapping[str, Mapping[str, float]]
"""Fields of `ModelScore` by family, and `all`."""


def write_card(model: Path) -> None:
    """Write the README.md of `model` from its scores.json."""
    scores = json.loads((model / "scores.json").read_text(encoding="utf-8"))
    agent, plain = scores["agent"], scores["plain"]
    fields = {
        **scores["training"],
        "test_problems": agent["all"]["problems"],
        "agent_accuracy": _percent(agent["all"]["accuracy"]),
        "code_use": _percent(agent["all"]["code_use"]),
        "accuracy_with_code": _percent(agent["all"]["accuracy_with_code"]),
        "tokens_with_code": f"{agent['all']['model_tokens_with_code']:.0f}",
        "plain_accuracy": _percent(plain["all"]["accuracy"]),
        "plain_tokens": f"{plain['all']['model_tokens']:.0f}",
        "table": _table(agent, plain),
    }
    card = ModelCard.from_template(_metadata(agent, plain), template_path=str(_TEMPLATE), **fields)
    card.save(model / "README.md")


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


def _table(agent: Scores, plain: Scores) -> str:
    lines = [
        "| family | n | agent: accuracy | code use | accuracy with code | tokens | plain: accuracy | tokens |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [_line(family, _cells(agent[family], plain[family])) for family in agent]
    return "\n".join(lines)


def _cells(agent: Mapping[str, float], plain: Mapping[str, float]) -> Iterable[str]:
    yield f"{agent['problems']:.0f}"
    yield from (_percent(agent[name]) for name in ("accuracy", "code_use", "accuracy_with_code"))
    yield f"{agent['model_tokens']:.0f}"
    yield _percent(plain["accuracy"])
    yield f"{plain['model_tokens']:.0f}"


def _line(family: str, cells: Iterable[str]) -> str:
    return f"| {family} | {' | '.join(cells)} |"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
