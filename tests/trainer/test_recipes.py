"""Every recipe is valid, and the faithful one has the values of the DeepMath model card."""

import subprocess
import sys
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from deepmath_trainer import worker_launch
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import RECIPES, parse_config, read_recipe

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
ACCELERATE = sorted(worker_launch.ACCELERATE.glob("*.yaml"))
PROMPTS = files("deepmath_generator") / "prompts"


@pytest.fixture
def faithful() -> TrainConfig:
    return parse_config(read_recipe("qwen3-4b-faithful"))


@pytest.fixture(scope="module")
def launch_help() -> str:
    """The options of `accelerate launch`."""
    return subprocess.check_output([sys.executable, "-P", "-m", "accelerate.commands.launch", "--help"], text=True)


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_parsed(name: str) -> None:
    assert parse_config(read_recipe(name)).model


def test_there_are_a_tiny_a_faithful_and_a_recommended_recipe() -> None:
    assert {"tiny-math", "qwen3-4b-faithful", "qwen3-4b"} <= {*NAMES}


def test_faithful_recipe_has_the_lora_settings_of_the_model_card(faithful: TrainConfig) -> None:
    assert faithful.model == "Qwen/Qwen3-4B-Thinking-2507"
    assert faithful.lora is not None
    assert (faithful.lora.rank, faithful.lora.alpha) == (32, 16)
    assert faithful.lora.rslora
    assert faithful.lora.targets == "all-linear"


def test_faithful_recipe_has_the_optimizer_of_the_model_card(faithful: TrainConfig) -> None:
    optimizer = faithful.optimizer
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.warmup) == (1e-6, "cosine", 0.1)


def test_faithful_recipe_has_the_batch_of_the_model_card(faithful: TrainConfig) -> None:
    assert faithful.rollout.samples == 4
    assert (faithful.optimizer.micro_batch, faithful.accumulation) == (4, 2)
    assert faithful.rollout.max_tokens == 5000


def test_faithful_recipe_has_the_temperature_schedule_of_the_model_card(faithful: TrainConfig) -> None:
    temperature = faithful.rollout.temperature
    assert (temperature.start, temperature.end, temperature.steps) == (1.2, 0.7, 1000)


def test_faithful_recipe_rewards_any_call_ten_times_as_much_as_accuracy(faithful: TrainConfig) -> None:
    assert faithful.reward.code_use == "called"
    assert faithful.reward.code == 10 * faithful.reward.accuracy


def test_faithful_recipe_has_the_clip_range_and_reference_of_the_original_configuration(faithful: TrainConfig) -> None:
    assert faithful.loss.epsilon_high == 0.4
    assert faithful.loss.beta > 0
    assert (faithful.loss.reference_every, faithful.loss.reference_mixup) == (300, 0.4)


def test_prompt_of_the_recipes_has_four_examples(faithful: TrainConfig) -> None:
    assert len(tomllib.loads((PROMPTS / f"{faithful.prompt}.toml").read_text())["examples"]) == 4


@pytest.mark.parametrize("file", ACCELERATE, ids=lambda file: file.stem)
def test_accelerate_accepts_every_key_of_its_configuration(file: Path, launch_help: str) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(file))  # rejects unknown keys
    assert config.distributed_type.value == {"fsdp": "FSDP", "deepspeed-zero3": "DEEPSPEED"}[file.stem]
    for key in (*config.fsdp_config, *config.deepspeed_config):
        assert f"--{key} " in launch_help
