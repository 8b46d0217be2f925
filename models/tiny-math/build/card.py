"""The model card: `card.md` with the figures of `scores.json` filled in."""

import json
from pathlib import Path
from string import Template
from typing import Any

_TEMPLATE = Path(__file__).parent / "card.md"


def write_card(model: Path) -> None:
    """Write the README.md of `model` from the scores.json beside it."""
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
    text = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(fields)
    (model / "README.md").write_text(text, encoding="utf-8")


def _table(agent: dict[str, Any], plain: dict[str, Any]) -> str:
    lines = [
        "| family | n | agent: right | code used | right with code | tokens | plain: right | tokens |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for family, row in agent.items():
        by_hand = plain[family]
        cells = [
            row["problems"],
            _percent(row["accuracy"]),
            _percent(row["code_use"]),
            _percent(row["accuracy_with_code"]),
            f"{row['model_tokens']:.0f}",
            _percent(by_hand["accuracy"]),
            f"{by_hand['model_tokens']:.0f}",
        ]
        lines.append(f"| {family} | " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
