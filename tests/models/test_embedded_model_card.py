"""The model card of the embedded model."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from huggingface_hub import ModelCard


def test_card_is_up_to_date_with_template_and_scores(
    build_module: Callable[[str], ModuleType], model_directory: Path, tmp_path: Path
) -> None:
    shutil.copy(model_directory / "scores.json", tmp_path)
    build_module("embedded_model_card").write_card(tmp_path)
    assert (tmp_path / "README.md").read_text() == (model_directory / "README.md").read_text()


def test_metadata_has_licence_library_and_accuracy_of_both_modes(model_directory: Path) -> None:
    data = ModelCard.load(model_directory / "README.md").data
    assert (data.license, data.library_name) == ("apache-2.0", "transformers")
    agent, plain = data.eval_results
    assert 0.40 <= agent.metric_value <= 0.75
    assert plain.metric_value < agent.metric_value
