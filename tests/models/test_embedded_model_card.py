"""The model card of the embedded model."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import ModelCard

from deepmath.data.synthetic import DIFFICULTIES, FAMILIES, generate
from deepmath.generator.v1 import generator_pb2 as pb

BUILD = Path(__file__).resolve().parents[2] / "models" / "tiny-math" / "build"


def test_card_is_up_to_date_with_template_and_scores(
    build_module: Callable[[str], ModuleType], model_directory: Path, tmp_path: Path
) -> None:
    shutil.copy(model_directory / "scores.json", tmp_path)
    build_module("embedded_model_card").write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == (model_directory / "README.md").read_text()


@pytest.fixture
def scores(build_module: Callable[[str], ModuleType]) -> dict[str, Any]:
    """Scores of a model that solves the difficulties 1 and 2 with Python, and 1 by hand."""
    samples = {
        mode: [
            (problem, answered(problem.answer if problem.difficulty <= hardest else "", mode == "agent"))
            for problem in generate(2 * DIFFICULTIES * len(FAMILIES), "test", 1)
        ]
        for mode, hardest in (("agent", 2), ("plain", 1))
    }
    plan, shape = build_module("training_plan").TrainingPlan(), build_module("training_plan").ModelShape()
    training = {
        **{"traces": 12000, "tokens": 1234567, "longest": 700, "minutes": 1.5, "hardware": "2 cores", "torch": "2"},
        **{"parameters": 1918912, "vocabulary": 768, "context": 2048},
        "mixture": asdict(build_module("training_corpus").CorpusMixture((0.5, 0.3, 0.2))),
        **asdict(shape),
        **asdict(plan),
        **{"steps": 30, "computed_steps": 0, "tokens_per_step": 16384, "muon": True},
    }
    return {**build_module("model_scores").scores_of(samples), "training": training}


def answered(answer: str, with_code: bool) -> pb.Trajectory:
    return pb.Trajectory(answer=answer, model_tokens=40, snippets=[pb.SnippetRun()] * with_code)


def card_of(scores: dict[str, Any], build_module: Callable[[str], ModuleType], folder: Path) -> str:
    (folder / "scores.json").write_text(json.dumps(scores))
    build_module("embedded_model_card").write_card(folder)
    return (folder / "README.md").read_text()


def test_card_has_accuracy_by_difficulty_and_mode_then_by_family(
    scores: dict[str, Any], build_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    card = card_of(scores, build_module, tmp_path)
    rows = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("|")]
    tables = {row[0]: row[1:] for row in rows if len(row) > 7}
    assert tables["1"] == ["64", "100 %", "100 %", "100 %", "40", "100 %", "40"]
    assert tables["2"] == ["64", "100 %", "100 %", "100 %", "40", "0 %", "40"]
    assert tables["3"] == ["64", "0 %", "100 %", "0 %", "40", "0 %", "40"]
    assert tables["all"] == ["192", "67 %", "100 %", "67 %", "40", "33 %", "40"]
    for family in FAMILIES:
        assert tables[family.name] == ["6", "67 %", "100, 100, 0", "100 %", "33 %", "100, 0, 0", "40", "40"]
    assert card.index("| all |") < card.index("<details>") < card.index("| product |") < card.index("</details>")


def test_card_states_how_the_model_was_trained(
    scores: dict[str, Any], build_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    prose = " ".join(card_of(scores, build_module, tmp_path).split())
    assert "12,000 traces" in prose
    assert "1,234,567 tokens" in prose
    assert "30 steps of 16,384 tokens. Muon for the matrices" in prose
    assert "by difficulty from 1 to 3: 50, 30, 20 % of the traces" in prose
    assert "steps use only traces with Python" not in prose
    scores["training"]["computed_steps"] = 450
    assert "The first 450 steps use only traces with Python" in card_of(scores, build_module, tmp_path)


def test_card_states_how_far_the_weights_were_reproduced(
    scores: dict[str, Any], build_module: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    assert "that has not been checked" in card_of(scores, build_module, tmp_path)
    scores["training"]["verified_steps"] = 20
    assert "checked up to step 20 of 30" in card_of(scores, build_module, tmp_path)


def test_every_field_of_the_template_is_filled_in(
    scores: dict[str, Any], build_module: Callable[[str], ModuleType]
) -> None:
    names = re.findall(r"{{ (\w+) }}", (BUILD / "card_template.md").read_text())
    assert set(names) - {"card_data"} <= build_module("embedded_model_card").fields_of(scores).keys()


def test_metadata_has_licence_library_and_accuracy_of_both_modes(model_directory: Path) -> None:
    data = ModelCard.load(model_directory / "README.md").data
    assert (data.license, data.library_name) == ("apache-2.0", "transformers")
    agent, plain = data.eval_results
    assert 0.40 <= agent.metric_value <= 0.65
    assert 0.25 <= plain.metric_value < 0.75
