"""Build the embedded model: train tokenizer and weights, score them, and write the model card.

A build that was stopped or killed resumes where its last checkpoint is. The model in the output folder is replaced only
when the new one is complete.
"""

import argparse
import asyncio
import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

# The model is built from this repository alone, without downloads. Set before transformers is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from build_estimate import estimate
from build_settings import BuildSettings, picked
from build_verification import verify
from embedded_model_card import write_card
from folder_replacement import check_replaceable, replace_folder
from model_builder import MODEL_FILES, BuildIntervals, ModelBuilder, read_scores, write_scores
from model_scores import score
from training_plan import ModelShape, TrainingPlan
from unfinished_build import UnfinishedBuild

from deepmath.errors import DeepMathError
from deepmath.local_stack.stack import EMBEDDED_MODEL

WORK = Path("build") / "tiny-math"
SCORE_SEED = 11
INTERRUPTED = 130
HELP = {
    "steps": "training steps",
    "computed_steps": "first steps that draw only traces that compute",
    "tokens_per_step": "tokens of one step",
    "micro_batch_tokens": "tokens of one forward pass",
    "muon": "train the layers' matrices with Muon instead of AdamW",
    "learning_rate": "peak learning rate",
    "warm_up_steps": "steps of linear warm-up",
    "decay_share": "share of the steps with linear decay to zero",
    "weight_decay": "decoupled weight decay of matrices",
    "gradient_norm": "gradient norm at which gradients are clipped",
    "seed": "seed of corpus, initial weights and order",
    "layers": "decoder layers",
    "hidden": "hidden size",
    "intermediate": "intermediate size of the MLP",
    "heads": "attention heads",
    "kv_heads": "key-value heads",
    "head_dim": "size of a head",
}


def main() -> None:
    """Build into the package data of `deepmath.local_stack`, or into `--output`."""
    arguments = _arguments()
    torch.set_num_threads(1)  # training runs several batches at a time instead
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # for speed; nothing reads such memory
    try:
        _run(arguments)
    except DeepMathError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        kept = f" The last checkpoint is in {arguments.work}." if (arguments.work / "checkpoint.pt").exists() else ""
        print(f"\nStopped.{kept} Run the same command again to continue.", file=sys.stderr, flush=True)
        sys.exit(INTERRUPTED)


def _run(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    if arguments.card_only:
        write_card(output)
    elif arguments.verify:
        verify(output, arguments.verify, arguments.threads)
        if "agent" in read_scores(output):
            write_card(output)
    elif arguments.score_only:
        _score(output, arguments.per_cell)
    else:
        _build(arguments)


def _build(arguments: argparse.Namespace) -> None:
    output: Path = arguments.output
    check_replaceable(output, MODEL_FILES)
    plan, shape = (picked(kind, vars(arguments)) for kind in (TrainingPlan, ModelShape))
    settings = BuildSettings(arguments.count, TrainingPlan(**plan), ModelShape(**shape))
    intervals = BuildIntervals(arguments.report_every, arguments.score_every, arguments.checkpoint_seconds)
    with UnfinishedBuild(arguments.work) as build:
        builder = ModelBuilder(settings, build, arguments.threads, intervals)
        if not builder.trained:
            _announce(builder, settings, arguments)
            builder.run()
        if not arguments.no_score:
            _score(build.model, arguments.per_cell)
        replace_folder(output, build.model)
        build.remove()
    print(f"The model is complete: {output}", flush=True)


def _announce(builder: ModelBuilder, settings: BuildSettings, arguments: argparse.Namespace) -> None:
    if builder.saved_step:
        print(f"Resuming after step {builder.saved_step:,} of {settings.plan.steps:,}.", flush=True)
    print(f"{estimate(settings, builder.saved_step, arguments.threads)}.", flush=True)
    print(f"Checkpoints go to {arguments.work}. {arguments.output} is replaced when all is done.", flush=True)


def _score(model: Path, per_cell: int) -> None:
    print("Scoring, which takes a few minutes.", flush=True)
    scores: dict[str, Any] = read_scores(model) | asyncio.run(score(model, per_cell, SCORE_SEED))
    write_scores(model, scores)
    write_card(model)
    print(json.dumps({mode: scores[mode]["all"] for mode in ("agent", "plain")}, indent=1), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python models/tiny-math/build", description=__doc__)
    parser.add_argument("--output", type=Path, default=EMBEDDED_MODEL, help="folder of the finished model")
    parser.add_argument("--work", type=Path, default=WORK, help="folder of the unfinished build")
    parser.add_argument("--count", type=int, default=BuildSettings.traces, help="number of training traces")
    for field in (*fields(TrainingPlan), *fields(ModelShape)):
        action = argparse.BooleanOptionalAction if isinstance(field.default, bool) else None
        kind: dict[str, Any] = {"action": action} if action else {"type": type(field.default)}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help=HELP[field.name], **kind)
    every = BuildIntervals()
    parser.add_argument("--threads", type=int, default=2, help="threads")
    parser.add_argument("--report-every", type=int, default=every.report, help="steps between progress reports")
    parser.add_argument("--score-every", type=int, default=every.score, help="steps between scores of held-out traces")
    parser.add_argument(
        "--checkpoint-seconds", type=float, default=every.checkpoint_seconds, help="seconds between checkpoints"
    )
    parser.add_argument("--per-cell", type=int, default=9, help="test problems per family and difficulty for scoring")
    parser.add_argument("--no-score", action="store_true", help="train only")
    only = parser.add_mutually_exclusive_group()
    only.add_argument("--card-only", action="store_true", help="write the card from the existing scores")
    only.add_argument("--score-only", action="store_true", help="score the existing model and write its card")
    only.add_argument(
        "--verify",
        type=int,
        metavar="STEPS",
        help="train the first steps of the existing model again and compare the weights bit for bit",
    )
    return parser.parse_args()
