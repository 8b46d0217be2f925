"""Training of the embedded model in the folder of an unfinished build, with checkpoints on the way."""

import json
import math
import platform
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from build_settings import BuildSettings
from encoded_corpus import EncodedCorpus
from held_out_scores import held_out_scores
from pretraining import Pretraining, new_model, weights_digest
from training_plan import CONTEXT_LENGTH
from unfinished_build import UnfinishedBuild

from deepmath.errors import InvalidRequest
from deepmath.local_stack.stack import EMBEDDED_MODEL

SCORES_FILE = "scores.json"
MODEL_FILES = {
    *("README.md", SCORES_FILE, "prompt.toml", "config.json", "generation_config.json", "model.safetensors"),
    *("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"),
}


@dataclass(frozen=True)
class BuildIntervals:
    """Intervals of a build's reports and checkpoints. Without influence on the weights."""

    report: int = 25
    """Steps between progress reports, after which alone a checkpoint may follow."""
    score: int = 100
    """Steps between scores of held-out traces. The digest of the weights is recorded as often."""
    checkpoint_seconds: float = 120.0


class ModelBuilder:
    """Trains the model of the settings, from where its checkpoint is.

    Raises:
        InvalidRequest: the checkpoint belongs to other settings, or is unreadable.
    """

    def __init__(
        self, settings: BuildSettings, build: UnfinishedBuild, threads: int, intervals: BuildIntervals
    ) -> None:
        self._settings, self._build, self._threads, self._intervals = settings, build, threads, intervals
        self._state = build.load(settings.facts())

    @property
    def saved_step(self) -> int:
        """The step of the checkpoint that the training starts from; 0 if there is none."""
        return self._state["step"] if self._state else 0

    @property
    def trained(self) -> bool:
        """Whether the model's folder is complete but for its scores and card."""
        return (self._build.model / SCORES_FILE).exists()

    def run(self) -> None:
        """Train to the end and write the folder of the model.

        Raises:
            InvalidRequest: the checkpoint belongs to another corpus.
        """
        started = time.monotonic()
        corpus = EncodedCorpus.of(self._settings)
        corpus_seconds, corpus_digest = time.monotonic() - started, corpus.digest()
        print(f"{self._settings.traces:,} traces of {sum(corpus.lengths):,} tokens", flush=True)
        training = self._new_training(corpus)
        digests = self._restore(training, corpus_digest)
        self._train(training, corpus, {"corpus": corpus_digest, "digests": digests})
        own = {
            "minutes": round((corpus_seconds + training.seconds) / 60, 1),
            "hardware": hardware(self._threads),
            "parameters": sum(parameter.numel() for parameter in training.model.parameters()),
            "corpus": corpus_digest,
            "digests": digests,
        }
        self._write_model(training, corpus, own)

    def _new_training(self, corpus: EncodedCorpus) -> Pretraining:
        plan = self._settings.plan
        model = new_model(corpus.tokenizer, self._settings.shape, plan.seed)
        return Pretraining(model, corpus.training, plan, self._threads)

    def _restore(self, training: Pretraining, corpus_digest: str) -> dict[str, str]:
        if self._state is None:
            return {}
        if self._state["corpus"] != corpus_digest:
            raise InvalidRequest(
                f"the corpus is not the one of the unfinished build in {self._build.folder}, since its program has "
                "changed. Restore the program to continue it, or delete the folder to start again"
            )
        training.restore(self._state)
        return dict(self._state["digests"])

    def _train(self, training: Pretraining, corpus: EncodedCorpus, own: dict[str, Any]) -> None:
        """Train to the end. `own` is saved with the training's state; its digests grow."""
        intervals, facts = self._intervals, self._settings.facts()
        saved = time.monotonic()
        for progress in training.run(math.gcd(intervals.report, intervals.score)):
            print(progress, flush=True)
            last = progress.step == progress.steps
            if progress.step % intervals.score == 0 or last:
                own["digests"][str(progress.step)] = weights_digest(training.model)
                scores = held_out_scores(training.model, corpus.held_out, self._settings.plan.micro_batch_tokens)
                for kind, score in scores.items():
                    print(f"  held out, {kind}: {score}", flush=True)
            if last or time.monotonic() - saved >= intervals.checkpoint_seconds:
                self._build.save(training.state() | own, facts)
                saved = time.monotonic()

    def _write_model(self, training: Pretraining, corpus: EncodedCorpus, own: dict[str, Any]) -> None:
        folder = self._build.model
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "prompt.toml").write_bytes((EMBEDDED_MODEL / "prompt.toml").read_bytes())
        training.model.generation_config.update(do_sample=True, temperature=1.0)
        corpus.tokenizer.save_pretrained(folder)
        training.model.save_pretrained(folder)
        sizes = {
            "tokens": sum(corpus.lengths),
            "longest": max(corpus.lengths),
            "vocabulary": len(corpus.tokenizer),
            "context": CONTEXT_LENGTH,
        }
        write_scores(folder, {"training": self._settings.facts() | sizes | own})


def write_scores(folder: Path, scores: dict[str, Any]) -> None:
    """Replace the scores of a model atomically."""
    partial = folder / f"{SCORES_FILE}.writing"
    partial.write_text(json.dumps(scores, indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / SCORES_FILE)


def read_scores(folder: Path) -> dict[str, Any]:
    """Return the scores of a model.

    Raises:
        InvalidRequest: it has none.
    """
    file = folder / SCORES_FILE
    if not file.exists():
        raise InvalidRequest(f"{folder} is not the folder of a built model: {SCORES_FILE} is missing")
    return dict(json.loads(file.read_text(encoding="utf-8")))


def hardware(threads: int) -> str:
    """Return number of threads and name of the processor."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{threads} cores of {names[0] if names else platform.machine()}"
