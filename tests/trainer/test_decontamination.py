"""A run does not train on the test problems of its own evaluation."""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from deepmath_trainer import decontamination
from deepmath_trainer.decontamination import load_training_set
from deepmath_trainer.run_config import DataConfig, EvaluationConfig, TrainConfig
from deepmath_trainer.run_folder import RunFolder

from deepmath.errors import InvalidRequest

TEXTS = [f"Ann buys {n} boxes of 12 eggs and gives {n + 3} eggs to Ben. How many eggs does she keep?" for n in range(8)]


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., TrainConfig]:
    def make(train: list[str], test: list[str], **evaluation: object) -> TrainConfig:
        for name, texts in (("train", train), ("test", test)):
            rows = (json.dumps({"problem": text, "answer": number}) + "\n" for number, text in enumerate(texts))
            (tmp_path / f"{name}.jsonl").write_text("".join(rows))
        return TrainConfig(
            model="tiny-math",
            data=DataConfig(dataset=str(tmp_path / "train.jsonl")),
            evaluation=EvaluationConfig(
                data=DataConfig(dataset=str(tmp_path / "test.jsonl")), **{"problems": 10} | evaluation
            ),
        )

    return make


def test_training_problems_that_repeat_a_test_problem_are_excluded_and_recorded(
    config: Callable[..., TrainConfig], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, decontamination.__name__):
        found = load_training_set(config([*TEXTS[:5], TEXTS[0].upper()], [f"Think. {TEXTS[1].lower()}", TEXTS[7]]))
    assert [problem.text for problem in found.problems] == [TEXTS[0], *TEXTS[2:5]]
    assert "1 of 5 problems" in caplog.text
    folder = RunFolder(tmp_path)
    folder.write_data_record(len(found.problems), found.contaminated)
    record = json.loads((tmp_path / "data.json").read_text())
    assert record["problems"] == 4
    assert [one["overlap"] >= 0.5 for one in record["contaminated"]] == [True]


@pytest.mark.parametrize("evaluation", [{"problems": 0}, {"decontaminate": False}, {"problems": 1}])
def test_only_test_problems_of_the_evaluation_count(
    config: Callable[..., TrainConfig], evaluation: dict[str, object]
) -> None:
    assert len(load_training_set(config(TEXTS, ["Another?", TEXTS[1]], **evaluation)).problems) == len(TEXTS)


def test_evaluation_on_the_training_problems_is_refused(config: Callable[..., TrainConfig]) -> None:
    with pytest.raises(
        InvalidRequest, match=r"8 of 8 problems in .* choose another split, or set evaluation.decontaminate"
    ):
        load_training_set(config(TEXTS, TEXTS))


def test_synthetic_training_problems_are_clean() -> None:
    config = TrainConfig(model="tiny-math", data=DataConfig(limit=300), evaluation=EvaluationConfig(problems=300))
    assert load_training_set(config).contaminated == []
