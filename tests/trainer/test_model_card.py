"""The model card has the hub's metadata and the figures of the run, and no data of this machine."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder

FIGURES = {"problems": 400, "accuracy": 0.25, "code_rate": 0.5, "code_executed_rate": 0.375, "model_tokens": 90.5}
EVALUATION = {"before": FIGURES, "after": FIGURES | {"accuracy": 0.875}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path)
    folder.adapter.mkdir()
    return folder


@pytest.fixture
def config() -> TrainConfig:
    return parse_config(read_recipe("tiny-math"), ["generators=['10.0.0.1:50052']", "name=example"])


def write_card(*arguments: Any) -> Path:
    from deepmath_trainer.model_card import write_card

    return write_card(*arguments)


def head(card: Path) -> dict[str, Any]:
    return yaml.safe_load(card.read_text().split("---")[1])


def test_card_has_the_metadata_of_the_hub(folder, config) -> None:
    metadata = head(write_card(folder.adapter, config, EVALUATION))
    assert (metadata["base_model"], metadata["library_name"], metadata["license"]) == (
        "tiny-math",
        "peft",
        "apache-2.0",
    )
    assert metadata["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.875}


def test_card_shows_before_and_after(folder, config) -> None:
    assert "| accuracy | 25.0% | 87.5% |" in write_card(folder.adapter, config, EVALUATION).read_text()


def test_card_of_a_run_without_evaluation_has_no_results(folder, config) -> None:
    card = write_card(folder.adapter, config, {})
    assert "model-index" not in head(card)
    assert "Results" not in card.read_text()


def test_card_of_full_weights_names_transformers(folder) -> None:
    config = parse_config(read_recipe("tiny-math"), ["lora=null", "checkpoint_root=/somewhere"])
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


def test_card_names_the_dialect_and_shows_a_call(folder, config) -> None:
    card = write_card(folder.adapter, config, {}, "python-fence").read_text()
    assert yaml.safe_load((folder.adapter / "training.yaml").read_text())["dialect"] == "python-fence"
    assert "--dialect python-fence" in card
    assert "    ```python\n    print(12 * 34)\n    ```\n    ```output\n    408" in card


def test_card_of_a_model_without_tools_names_no_dialect(folder) -> None:
    config = parse_config(read_recipe("tiny-math"), ["rollout.mode=plain", "reward.code=0"])
    assert "dialect" not in write_card(folder.adapter, config, {}, "tool-call").read_text()


def test_configured_dialect_is_that_of_the_card(folder) -> None:
    config = parse_config(read_recipe("tiny-math"), ["dialect=hermes"])
    assert "--dialect hermes" in write_card(folder.adapter, config, {}).read_text()
