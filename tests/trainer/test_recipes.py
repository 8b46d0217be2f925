"""Every recipe loads, and the faithful one has the seeds' numbers."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from deepmath_trainer import worker_launch
from deepmath_trainer.run_config import RECIPES, TrainConfig, load, read

NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
ACCELERATE = sorted(worker_launch.ACCELERATE.glob("*.yaml"))
PROMPTS = RECIPES.parents[1] / "generator" / "prompts"


@pytest.fixture
def faithful() -> TrainConfig:
    return load(read("qwen3-4b-faithful"))


@pytest.mark.parametrize("name", NAMES)
def test_recipe_loads(name: str) -> None:
    assert load(read(name)).model


def test_there_is_a_recipe_for_trying_for_the_seeds_and_for_us() -> None:
    assert {"tiny-math", "qwen3-4b-faithful", "qwen3-4b"} <= {*NAMES}


def test_faithful_recipe_trains_the_seeds_adapter(faithful: TrainConfig) -> None:
    assert faithful.model == "Qwen/Qwen3-4B-Thinking-2507"
    assert faithful.lora is not None
    assert (faithful.lora.rank, faithful.lora.alpha) == (32, 16)
    assert faithful.lora.rslora
    assert faithful.lora.targets == "all-linear"


def test_faithful_recipe_has_the_seeds_optimizer(faithful: TrainConfig) -> None:
    optimizer = faithful.optimizer
    assert (optimizer.learning_rate, optimizer.schedule, optimizer.warmup) == (1e-6, "cosine", 0.1)


def test_faithful_recipe_has_the_seeds_batch(faithful: TrainConfig) -> None:
    assert faithful.rollout.samples == 4
    assert (faithful.optimizer.micro_batch, faithful.accumulation) == (4, 2)
    assert faithful.rollout.max_tokens == 5000


def test_faithful_recipe_cools_as_the_seeds_do(faithful: TrainConfig) -> None:
    temperature = faithful.rollout.temperature
    assert (temperature.start, temperature.end, temperature.steps) == (1.2, 0.7, 1000)


def test_faithful_recipe_pays_for_any_call_ten_times_what_it_pays_for_accuracy(faithful: TrainConfig) -> None:
    assert faithful.reward.code_use == "called"
    assert faithful.reward.code == 10 * faithful.reward.accuracy


def test_faithful_recipe_clips_and_moves_its_reference_as_the_seeds_do(faithful: TrainConfig) -> None:
    assert faithful.loss.epsilon_high == 0.4
    assert faithful.loss.beta > 0
    assert (faithful.loss.reference_every, faithful.loss.reference_mixup) == (300, 0.4)


def test_prompt_of_the_recipes_shows_four_examples(faithful: TrainConfig) -> None:
    assert len(tomllib.loads((PROMPTS / f"{faithful.prompt}.toml").read_text())["examples"]) == 4


@pytest.mark.parametrize("file", ACCELERATE, ids=lambda file: file.stem)
def test_accelerate_knows_every_key_of_its_configuration(file: Path) -> None:
    config = load_config_from_file(str(file))  # refuses unknown keys
    assert config.distributed_type.value == {"fsdp": "FSDP", "deepspeed-zero3": "DEEPSPEED"}[file.stem]
    options = subprocess.check_output([sys.executable, "-m", "accelerate.commands.launch", "--help"], text=True)
    for key in (*config.fsdp_config, *config.deepspeed_config):
        assert f"--{key} " in options
