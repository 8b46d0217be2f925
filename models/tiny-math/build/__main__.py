"""Build the embedded model: train tokenizer and weights, score them, and write the model card."""

import argparse
import asyncio
import itertools
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

# The model is built from this repository alone, without downloads. Set before transformers is imported.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from deepmath_generator.prompt_template import PromptTemplate
from embedded_model_card import write_card
from model_scores import score
from pretraining import CONTEXT_LENGTH, LearningRateSchedule, exact_share, new_model, train
from tokenizer_training import train_tokenizer
from training_corpus import CorpusMixture, encode, traces

from deepmath.local_stack.stack import EMBEDDED_MODEL

TOKENIZER_TRACES = 4000
HELD_OUT = 128  # traces held out to measure whether numbers are copied exactly
SCORE_SEED = 11


def main() -> None:
    """Build into the package data of `deepmath.local_stack`, or into `--output`."""
    arguments = _arguments()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    output: Path = arguments.output
    file = output / "scores.json"
    if arguments.card_only:
        write_card(output)
        return
    if not arguments.score_only:
        report: dict[str, Any] = {"training": build(output, arguments.count, arguments.seed)}
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if not arguments.no_score:
        report = json.loads(file.read_text(encoding="utf-8"))
        report |= asyncio.run(score(output, arguments.per_cell, SCORE_SEED))
        file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
        write_card(output)
        print(json.dumps({mode: report[mode]["all"] for mode in ("agent", "plain")}, indent=1))


def build(output: Path, count: int, seed: int) -> dict[str, Any]:
    """Train tokenizer and model on `count` traces, write both to `output`, and return facts for the card."""
    started = time.monotonic()
    mixture, schedule = CorpusMixture(), LearningRateSchedule()
    corpus = list(traces(count, seed, mixture))
    tokenizer = train_tokenizer(itertools.islice(corpus, TOKENIZER_TRACES), CONTEXT_LENGTH)
    prompt = PromptTemplate.load(str(EMBEDDED_MODEL))
    examples = [encode(trace, tokenizer, prompt) for trace in corpus]
    held_out = [example for example in examples[-HELD_OUT:] if example.with_tool]
    print(f"{count} traces after {time.monotonic() - started:.0f} s", flush=True)
    model = new_model(tokenizer, seed)
    steps = 0
    for progress in train(model, examples[:-HELD_OUT], schedule, mixture, seed):
        steps = progress.step
        exact = f", {exact_share(model, held_out):.0%} exact" if steps % 100 == 0 else ""
        print(f"{progress}{exact}", flush=True)
    model.generation_config.update(do_sample=True, temperature=1.0)
    output.mkdir(parents=True, exist_ok=True)
    (output / "prompt.toml").write_bytes((EMBEDDED_MODEL / "prompt.toml").read_bytes())
    tokenizer.save_pretrained(output)
    model.save_pretrained(output)
    return {
        "seed": seed,
        "traces": count,
        "tokens": sum(len(example.ids) for example in examples),
        "longest": max(len(example.ids) for example in examples),
        "steps": steps,
        "minutes": round((time.monotonic() - started) / 60, 1),
        "hardware": _hardware(),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in model.parameters()),
        "vocabulary": len(tokenizer),
        "context": CONTEXT_LENGTH,
        "layers": model.config.num_hidden_layers,
        "hidden": model.config.hidden_size,
        "heads": model.config.num_attention_heads,
        "kv_heads": model.config.num_key_value_heads,
        "plain_prompt": f"{mixture.plain_prompt:.0%}",
        "by_hand": f"{mixture.by_hand:.0%}",
        "decision_weight": mixture.decision_weight,
        "tool_steps": schedule.tool_steps,
        "traces_per_step": schedule.traces_per_step,
    }


def _hardware() -> str:
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{torch.get_num_threads()} cores of {names[0] if names else platform.machine()}"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python models/tiny-math/build", description=__doc__)
    parser.add_argument("--output", type=Path, default=EMBEDDED_MODEL, help="output folder")
    parser.add_argument("--count", type=int, default=12_000, help="number of training traces")
    parser.add_argument("--seed", type=int, default=1, help="training seed")
    parser.add_argument("--threads", type=int, default=2, help="torch threads")
    parser.add_argument("--per-cell", type=int, default=9, help="test problems per family and difficulty for scoring")
    parser.add_argument("--no-score", action="store_true", help="train only")
    parser.add_argument("--card-only", action="store_true", help="write the card from the existing scores")
    parser.add_argument("--score-only", action="store_true", help="score the existing model and write its card")
    return parser.parse_args()


if __name__ == "__main__":
    main()
