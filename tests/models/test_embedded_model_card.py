"""The model card of the embedded model."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from huggingface_hub import ModelCard

from deepmath.data.synthetic import FAMILIES, generate
from deepmath.generator.v1 import generator_pb2 as pb


def test_card_is_up_to_date_with_template_and_scores(
    build_module: Callable[[str], ModuleType], model_directory: Path, tmp_path: Path
) -> None:
    shutil.copy(model_directory / "scores.json", tmp_path)
    build_module("embedded_model_card").write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == (model_directory / "README.md").read_text()


def test_model_is_scored_by_difficulty_and_mode_and_by_family_within_them(
    build_module: Callable[[str], ModuleType], model_directory: Path, tmp_path: Path
) -> None:
    samples = {
        mode: [
            (problem, answered(problem.answer if problem.difficulty <= hardest else "", mode == "agent"))
            for problem in generate(2 * 3 * len(FAMILIES), "test", 1)
        ]
        for mode, hardest in (("agent", 2), ("plain", 1))
    }
    scores = build_module("model_scores").scores_of(samples)
    training = json.loads((model_directory / "scores.json").read_text())["training"]
    (tmp_path / "scores.json").write_text(json.dumps(scores | {"training": training}))
    build_module("embedded_model_card").write_card(tmp_path)
    rows = [line.strip("| ").split(" | ") for line in (tmp_path / "README.md").read_text().splitlines()]
    tables = {row[0]: row[1:] for row in rows if len(row) > 7}
    assert tables["1"] == ["64", "100 %", "100 %", "100 %", "40", "100 %", "40"]
    assert tables["2"] == ["64", "100 %", "100 %", "100 %", "40", "0 %", "40"]
    assert tables["3"] == ["64", "0 %", "100 %", "0 %", "40", "0 %", "40"]
    assert tables["all"] == ["192", "67 %", "100 %", "67 %", "40", "33 %", "40"]
    for family in FAMILIES:
        assert tables[family.name] == ["6", "67 %", "100, 100, 0", "100 %", "33 %", "100, 0, 0", "40", "40"]


def test_every_field_of_the_template_is_filled_in(
    build_module: Callable[[str], ModuleType], model_directory: Path
) -> None:
    card = build_module("embedded_model_card")
    scores = json.loads((model_directory / "scores.json").read_text())
    template = (Path(card.__file__).parent / "card_template.md").read_text()
    assert set(re.findall(r"{{ (\w+) }}", template)) - {"card_data"} <= set(card.fields_of(scores))


def answered(answer: str, with_code: bool) -> pb.Trajectory:
    return pb.Trajectory(answer=answer, model_tokens=40, snippets=[pb.SnippetRun()] * with_code)


def test_metadata_has_licence_library_and_accuracy_of_both_modes(model_directory: Path) -> None:
    data = ModelCard.load(model_directory / "README.md").data
    assert (data.license, data.library_name) == ("apache-2.0", "transformers")
    agent, plain = data.eval_results
    assert 0.40 <= agent.metric_value <= 0.75
    assert plain.metric_value < agent.metric_value
