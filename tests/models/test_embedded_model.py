"""Files of the embedded model: size, architecture and scores."""

import json
from math import prod
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from deepmath.data.synthetic import FAMILIES


@pytest.fixture(scope="module")
def scores(model_directory: Path) -> dict[str, Any]:
    return dict(json.loads((model_directory / "scores.json").read_text()))


def test_weights_are_under_ten_megabytes(model_directory: Path) -> None:
    assert (model_directory / "model.safetensors").stat().st_size < 10_000_000


def test_model_has_under_five_million_parameters(model_directory: Path) -> None:
    with safe_open(model_directory / "model.safetensors", "numpy") as weights:
        assert sum(prod(weights.get_slice(name).get_shape()) for name in weights.keys()) < 5_000_000  # noqa: SIM118


def test_architecture_is_qwen3(model_directory: Path) -> None:
    config = json.loads((model_directory / "config.json").read_text())
    assert config["architectures"] == ["Qwen3ForCausalLM"]


def test_end_of_turn_and_padding_tokens_differ(model_directory: Path) -> None:
    generation = json.loads((model_directory / "generation_config.json").read_text())
    assert generation["eos_token_id"] != generation["pad_token_id"]


@pytest.mark.parametrize("mode", ["agent", "plain"])
def test_scores_cover_every_family(scores: dict[str, Any], mode: str) -> None:
    assert set(scores[mode]) == {family.name for family in FAMILIES} | {"all"}


def test_agent_mode_leaves_room_for_training(scores: dict[str, Any]) -> None:
    assert 0.40 <= scores["agent"]["all"]["accuracy"] <= 0.65


def test_every_family_has_correct_answers_in_agent_mode(scores: dict[str, Any]) -> None:
    assert min(row["accuracy"] for row in scores["agent"].values()) > 0


def test_plain_mode_is_a_fair_contestant_that_loses_with_difficulty(scores: dict[str, Any]) -> None:
    easy, medium, hard = (scores["by_difficulty"]["plain"][grade]["accuracy"] for grade in "123")
    assert scores["plain"]["all"]["accuracy"] >= 0.25
    assert easy > medium > hard


def test_plain_mode_is_at_least_three_times_as_long(scores: dict[str, Any]) -> None:
    assert scores["plain"]["all"]["model_tokens"] >= 3 * scores["agent"]["all"]["model_tokens_with_code"]


def test_card_shows_the_score_of_every_family(model_directory: Path, scores: dict[str, Any]) -> None:
    card = (model_directory / "README.md").read_text()
    for family, row in scores["agent"].items():
        assert f"| {family} | {row['problems']} | {100 * row['accuracy']:.0f} % |" in card
