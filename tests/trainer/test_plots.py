"""Pictures and card of a run."""

import json
from pathlib import Path

import pytest
import yaml
from deepmath_trainer.model_card import write_card
from deepmath_trainer.run_config import TrainConfig, load, read
from deepmath_trainer.run_folder import RunFolder
from deepmath_trainer.training_plots import draw

PNG = b"\x89PNG\r\n\x1a\n"
FIGURES = {"problems": 400, "accuracy": 0.25, "code_rate": 0.5, "code_executed_rate": 0.375, "model_tokens": 90.5}
EVALUATION = {"before": FIGURES, "after": FIGURES | {"accuracy": 0.875}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.adapter.mkdir()
    return folder


@pytest.fixture
def config() -> TrainConfig:
    return load(read("tiny-math"), ["generators=['10.0.0.1:50052']", "name=lesson"])


def head(card: Path) -> dict:
    return yaml.safe_load(card.read_text().split("---")[1])


def test_each_metric_has_its_picture(folder) -> None:
    folder.append_metrics(1, {"reward": 0.1, "accuracy": 0.2, "code_rate": 0.3, "model_tokens": 50, "temperature": 1})
    folder.append_metrics(2, {"reward": float("nan"), "accuracy": 0.4})
    folder.write_evaluation(EVALUATION)
    paths = draw(folder)
    assert {path.stem for path in paths} == {"reward", "accuracy", "code_rate", "length", "temperature", "overview"}
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_run_without_a_step_has_empty_pictures(folder) -> None:
    assert all(path.read_bytes().startswith(PNG) for path in draw(folder))


def test_card_has_the_metadata_of_a_hub(folder, config) -> None:
    metadata = head(write_card(folder.adapter, config, EVALUATION))
    assert (metadata["base_model"], metadata["library_name"], metadata["license"]) == (
        "tiny-math",
        "peft",
        "apache-2.0",
    )
    assert metadata["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.875}


def test_card_shows_before_and_after(folder, config) -> None:
    assert "| accuracy | 25.0% | 87.5% |" in write_card(folder.adapter, config, EVALUATION).read_text()


def test_card_of_a_run_without_evaluation_claims_nothing(folder, config) -> None:
    card = write_card(folder.adapter, config, {})
    assert "model-index" not in head(card)
    assert "Results" not in card.read_text()


def test_card_of_all_weights_names_the_library_that_loads_them(folder) -> None:
    config = load(read("tiny-math"), ["lora=null", "checkpoint_root=/somewhere"])
    assert head(write_card(folder.adapter, config, {}))["library_name"] == "transformers"


def test_published_folder_names_no_path_or_address_of_this_machine(folder, config, tmp_path) -> None:
    problems = tmp_path / "problems.jsonl"
    problems.touch()
    data = config.data.model_copy(update={"dataset": str(problems)})
    (folder.adapter / "adapter_config.json").write_text(
        json.dumps({"base_model_name_or_path": config.model_path, "r": 32})
    )
    write_card(folder.adapter, config.model_copy(update={"data": data}), EVALUATION)
    published = "".join(path.read_text() for path in folder.adapter.iterdir())
    assert str(tmp_path) not in published
    assert config.model_path not in published
    assert "10.0.0.1" not in published
    assert json.loads((folder.adapter / "adapter_config.json").read_text())["r"] == 32
