"""Memory, time and adapter of the Qwen3-4B recipes, on a model of their shape with random weights.

`python -m benchmarks.recipe_shapes` builds a model with the widths, heads and vocabulary of Qwen3-4B and two layers,
and for each recipe

    trainer    takes two optimizer steps on random trajectories, with the output layer in tiles and with all logits at
               once: peak memory and time of both
    services   takes two optimizer steps through trainer, generator and executor, and streams the adapter

`--trainer-only` omits the services, so that neither vLLM nor a sandbox is needed: for a GPU, with `--device cuda
--layers 2,36`. On a CPU the recipes' lengths and groups are reduced (`CPU`); everything else is the recipe's.
Results: benchmarks/results/recipe_shapes.json.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.run_config_parser import parse_config, read_recipe
from deepmath_trainer.run_folder import RunFolder

from benchmarks.random_model import QWEN3_4B, write_random_model

RESULTS = Path(__file__).parent / "results" / "recipe_shapes.json"
RECIPES = "qwen3-4b", "qwen3-4b-faithful"
FORMS = "tiles", "logits"
PROMPT = 1200
"""Tokens of a prompt with the four examples, about."""
OVERRIDES = ("optimizer.steps=2", "report_to=[]", "evaluation.problems=0", "checkpoint.every=100")
CPU = ("rollout.groups=2", "rollout.max_tokens=192", "launch.cpu=true")
# Random weights solve nothing: without these, every reward and so every advantage would be 0.
REWARDS = ("reward.length=1", "reward.length_free=1", "data.dataset=synthetic", "data.limit=64")
Figures = dict[str, Any]


def main(options: argparse.Namespace, work: Path) -> Figures:
    results: Figures = {"machine": machine(options.device), "prompt_tokens": options.prompt}
    for layers in options.layers:
        model = work / f"layers-{layers}"
        found = results[f"{layers} layers"] = {
            "parameters": write_random_model(model, QWEN3_4B, layers, options.tokenizer, options.device)
        }
        for recipe in options.recipes:
            found[recipe] = of_recipe(recipe, model, layers, options, work)
            print(json.dumps({f"{layers} layers, {recipe}": found[recipe]}), flush=True)
    return results


def of_recipe(recipe: str, model: Path, layers: int, options: argparse.Namespace, work: Path) -> Figures:
    config = settings(recipe, model, options)
    found: Figures = {
        "trajectories": config.batch,
        "micro_batch": config.optimizer.micro_batch,
        "completion_tokens": config.rollout.max_tokens,
    }
    for form in options.forms:
        folder = work / f"{recipe}-{layers}-{form}"
        found[form] = on_random_trajectories(config, folder, options.prompt, form)
    if not options.trainer_only:
        from benchmarks.recipe_shapes_services import through_services

        folder = work / f"{recipe}-{layers}-services"
        folder.mkdir()
        found["services"] = asyncio.run(through_services(settings(recipe, model, options, REWARDS), folder))
    return found


def settings(recipe: str, model: Path, options: argparse.Namespace, more: tuple[str, ...] = ()) -> TrainConfig:
    """Return the recipe with the settings of this benchmark."""
    overrides = [*OVERRIDES, *(CPU if options.device == "cpu" else ()), f"model={model}", *more, *options.set]
    return parse_config(read_recipe(recipe), overrides)


def on_random_trajectories(config: TrainConfig, folder: Path, prompt: int, form: str) -> Figures:
    """Train in a new process, so that memory is its own; return its figures, or why there are none."""
    folder.mkdir()
    RunFolder(folder).write_config(config.to_yaml())
    arguments = [str(folder), str(config.rollout.max_tokens), str(prompt), form]
    command = [sys.executable, "-P", "-m", "benchmarks.recipe_shapes_worker", *arguments]
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(command, check=False, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": paths})
    if ended.returncode:
        if "OutOfMemoryError" in ended.stderr or ended.returncode < 0:
            return {"failed": "out of memory"}
        raise SystemExit(f"{config.model}, {form}: the worker failed:\n{ended.stderr[-4000:]}")
    found: Figures = json.loads(ended.stdout.splitlines()[-1])
    return found


def machine(device: str) -> str:
    import torch

    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    return f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, torch {torch.__version__}"


def names(text: str) -> list[str]:
    return text.split(",") if text else []


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", type=names, default=RECIPES, help="Recipes, separated by commas.")
    parser.add_argument("--layers", type=lambda text: [*map(int, names(text))], default=[2], help="Numbers of layers.")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="Device of the trainer.")
    parser.add_argument("--trainer-only", action="store_true", help="Without generator and executor.")
    parser.add_argument(
        "--forms",
        type=names,
        default=FORMS,
        help="Forms of the output layer, separated by commas; empty: only the services.",
    )
    parser.add_argument("--prompt", type=int, default=PROMPT, help="Tokens of a prompt.")
    parser.add_argument("--tokenizer", type=Path, help="Folder with a tokenizer. Default: build one.")
    parser.add_argument("--set", action="append", default=[], help="Override a setting of the recipes: KEY=VALUE.")
    parser.add_argument("--output", type=Path, default=RESULTS, help="File for the results.")
    parsed = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="deepmath-bench-") as folder:
        figures = main(parsed, Path(folder))
    parsed.output.parent.mkdir(exist_ok=True)
    parsed.output.write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures, indent=1))
