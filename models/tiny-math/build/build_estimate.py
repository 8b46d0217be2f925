"""Duration of a build, from a short measurement on this machine."""

import time
from dataclasses import dataclass, replace

from build_settings import BuildSettings
from encoded_corpus import EncodedCorpus
from pretraining import Pretraining, new_model

SAMPLE_TRACES = 320  # ten of each family
SAMPLE_STEPS = 3  # the first is not counted


@dataclass(frozen=True)
class BuildEstimate:
    """The remaining work of a build."""

    traces: int
    steps: int
    tokens_per_step: int
    corpus_minutes: float
    training_minutes: float

    def __str__(self) -> str:
        tokens = self.steps * self.tokens_per_step
        pace = tokens / self.training_minutes / 60
        return (
            f"{self.traces:,} traces, about {self.corpus_minutes:.1f} min; then {self.steps:,} steps of "
            f"{self.tokens_per_step:,} tokens, {tokens:,} in all, about {self.training_minutes:.1f} min at "
            f"{pace:,.0f} tokens/s"
        )


def estimate(settings: BuildSettings, done: int, threads: int) -> BuildEstimate:
    """Measure corpus and training on a few traces; `done` steps of the training are finished already."""
    sample = replace(settings, traces=SAMPLE_TRACES)
    EncodedCorpus.of(sample)  # imports
    started = time.monotonic()
    corpus = EncodedCorpus.of(sample)
    seconds_per_trace = (time.monotonic() - started) / SAMPLE_TRACES
    left = settings.plan.steps - done
    return BuildEstimate(
        settings.traces,
        left,
        settings.plan.tokens_per_step,
        settings.traces * seconds_per_trace / 60,
        left * _seconds_per_step(settings, corpus, threads) / 60,
    )


def _seconds_per_step(settings: BuildSettings, corpus: EncodedCorpus, threads: int) -> float:
    plan = replace(settings.plan, steps=SAMPLE_STEPS, computed_steps=0)
    model = new_model(corpus.tokenizer, settings.shape, plan.seed)
    first, *_, last = Pretraining(model, corpus.training, plan, threads).run(every=1)
    return (last.seconds - first.seconds) / (SAMPLE_STEPS - 1)
