"""Verification of a model: its first steps are trained again, and must give the recorded weights bit for bit."""

from pathlib import Path
from typing import Any

import torch
from build_settings import BuildSettings
from encoded_corpus import EncodedCorpus
from model_builder import read_scores, write_scores
from pretraining import Pretraining, new_model, weights_digest

from deepmath.errors import InvalidRequest

VERIFIED = "verified_steps"


def verify(model: Path, steps: int, threads: int) -> None:
    """Train up to the last recorded digest within `steps` steps, and note in the scores how far the weights agree.

    Raises:
        InvalidRequest: nothing is recorded within those steps, or corpus or weights differ.
    """
    scores = read_scores(model)
    training = scores["training"]
    recorded = {int(step): digest for step, digest in training.get("digests", {}).items() if int(step) <= steps}
    if not recorded:
        raise InvalidRequest(f"{model} has no digest of the weights after at most {steps} steps")
    for step in _agreeing(training, recorded, threads):
        print(f"step {step}: the weights are those recorded", flush=True)
        training[VERIFIED] = max(step, training.get(VERIFIED, 0))
    write_scores(model, scores)


def _agreeing(training: dict[str, Any], recorded: dict[int, str], threads: int) -> list[int]:
    settings = BuildSettings.from_facts(training)
    corpus = EncodedCorpus.of(settings)
    digest = corpus.digest()
    if training.get("corpus", digest) != digest:
        raise InvalidRequest("the corpus is not the one that the model was trained on, since its program has changed")
    plan = settings.plan
    run = Pretraining(new_model(corpus.tokenizer, settings.shape, plan.seed), corpus.training, plan, threads)
    for progress in run.run(every=1):
        step = progress.step
        if step in recorded and weights_digest(run.model) != recorded[step]:
            raise InvalidRequest(
                f"after step {step} the weights differ from those recorded. They were trained with torch "
                f"{training['torch']} on {training['hardware']}; here torch is {torch.__version__}. "
                "Other processors and versions round differently"
            )
        if step == max(recorded):
            break
    return sorted(recorded)
