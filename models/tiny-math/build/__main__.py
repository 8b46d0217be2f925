"""Build the embedded model: train tokenizer and weights, score them, and write the model card."""

import argparse
import asyncio
import itertools
import json
import os
import platform
import time
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

# The model is built from this repository alone, without downloads. Set before transformers is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from deepmath_generator.prompt_template import PromptTemplate
from embedded_model_card import write_card
from model_scores import score
from pretraining import CONTEXT_LENGTH, ModelShape, TrainingPlan, held_out_scores, new_model, train
from tokenizer_training import train_tokenizer
from training_corpus import CorpusMixture, encode, traces

from deepmath.local_stack.stack import EMBEDDED_MODEL

TOKENIZER_TRACES = 4000
HELD_OUT = 1000  # traces held out for loss and exact share
SCORE_SEED = 11
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
    output: Path = arguments.output
    file = output / "scores.json"
    if arguments.card_only:
        write_card(output)
        return
    if not arguments.score_only:
        report: dict[str, Any] = {"training": _build(arguments)}
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not arguments.no_score:
        report = json.loads(file.read_text(encoding="utf-8"))
        report |= asyncio.run(score(output, arguments.per_cell, SCORE_SEED))
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        write_card(output)
        print(json.dumps({mode: report[mode]["all"] for mode in ("agent", "plain")}, indent=1))


def _build(arguments: argparse.Namespace) -> dict[str, Any]:
    plan, shape = (
        kind(**{name: getattr(arguments, name) for name in kind.__annotations__}) for kind in (TrainingPlan, ModelShape)
    )
    return build(arguments.output, arguments.count, plan, shape, arguments.threads, arguments.score_every)


def build(
    output: Path, count: int, plan: TrainingPlan, shape: ModelShape, threads: int, score_every: int
) -> dict[str, Any]:
    """Train tokenizer and model on `count` traces, write both to `output`, and return facts for the card."""
    started = time.monotonic()
    mixture = CorpusMixture()
    corpus = list(traces(count, plan.seed, mixture))
    tokenizer = train_tokenizer(itertools.islice(corpus, TOKENIZER_TRACES), CONTEXT_LENGTH)
    prompt = PromptTemplate.load(str(EMBEDDED_MODEL))
    examples = [encode(trace, tokenizer, prompt) for trace in corpus]
    tokens = sum(len(example.ids) for example in examples)
    print(f"{count} traces, {tokens:,} tokens, after {time.monotonic() - started:.0f} s", flush=True)
    model = new_model(tokenizer, shape, plan.seed)
    held_out = examples[-HELD_OUT:]
    for progress in train(model, examples[:-HELD_OUT], plan, threads):
        print(progress, flush=True)
        if progress.step % score_every == 0 or progress.step == progress.steps:
            for kind, held_out_score in held_out_scores(model, held_out, plan).items():
                print(f"  held out, {kind}: {held_out_score}", flush=True)
    model.generation_config.update(do_sample=True, temperature=1.0)
    output.mkdir(parents=True, exist_ok=True)
    (output / "prompt.toml").write_bytes((EMBEDDED_MODEL / "prompt.toml").read_bytes())
    tokenizer.save_pretrained(output)
    model.save_pretrained(output)
    return {
        "traces": count,
        "tokens": tokens,
        "longest": max(len(example.ids) for example in examples),
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": _hardware(threads),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": len(tokenizer),
        "context": CONTEXT_LENGTH,
        "mixture": asdict(mixture),
        **asdict(shape),
        **asdict(plan),
    }


def _hardware(threads: int) -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{threads} cores of {names[0] if names else platform.machine()}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python models/tiny-math/build", description=__doc__)
    parser.add_argument("--output", type=Path, default=EMBEDDED_MODEL, help="output folder")
    parser.add_argument("--count", type=int, default=12_000, help="number of training traces")
    for field in (*fields(TrainingPlan), *fields(ModelShape)):
        action = argparse.BooleanOptionalAction if isinstance(field.default, bool) else None
        kind = {"action": action} if action else {"type": type(field.default)}
        parser.add_argument(f"--{field.name.replace('_', '-')}", default=field.default, help=HELP[field.name], **kind)
    parser.add_argument("--score-every", type=int, default=200, help="steps between scores of held-out traces")
    parser.add_argument("--threads", type=int, default=2, help="threads")
    parser.add_argument("--per-cell", type=int, default=9, help="test problems per family and difficulty for scoring")
    parser.add_argument("--no-score", action="store_true", help="train only")
    parser.add_argument("--card-only", action="store_true", help="write the card from the existing scores")
    parser.add_argument("--score-only", action="store_true", help="score the existing model and write its card")
    return parser.parse_args()


if __name__ == "__main__":
    main()
