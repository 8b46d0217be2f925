"""The corpus as token ids, with the tokenizer that was trained on its beginning."""

import hashlib
import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from build_settings import BuildSettings
from deepmath_generator.prompt_template import PromptTemplate
from tokenizer_training import train_tokenizer
from training_corpus import TrainingExample, encode, traces
from training_plan import CONTEXT_LENGTH
from transformers import PreTrainedTokenizerFast

from deepmath.local_stack.stack import EMBEDDED_MODEL

TOKENIZER_TRACES = 4000
HELD_OUT = 1000  # traces held out for loss and exact share; of a small corpus a tenth


@dataclass(frozen=True)
class EncodedCorpus:
    """Examples for training and held-out ones."""

    tokenizer: PreTrainedTokenizerFast
    training: Sequence[TrainingExample]
    held_out: Sequence[TrainingExample]

    @classmethod
    def of(cls, settings: BuildSettings) -> Self:
        """Draw, execute and encode the traces. Depends on nothing but the settings."""
        drawn = list(traces(settings.traces, settings.plan.seed, settings.mixture))
        tokenizer = train_tokenizer(itertools.islice(drawn, TOKENIZER_TRACES), CONTEXT_LENGTH)
        prompt = PromptTemplate.load(str(EMBEDDED_MODEL))
        examples = [encode(trace, tokenizer, prompt) for trace in drawn]
        split = len(examples) - min(HELD_OUT, len(examples) // 10)
        return cls(tokenizer, examples[:split], examples[split:])

    @property
    def lengths(self) -> list[int]:
        """Tokens of each example."""
        return [len(example.ids) for example in (*self.training, *self.held_out)]

    def digest(self) -> str:
        """Return the SHA-256 of tokenizer and examples, as hexadecimal digits."""
        digest = hashlib.sha256(self.tokenizer.backend_tokenizer.to_str().encode())
        for example in (*self.training, *self.held_out):
            digest.update(example.kind.encode())
            digest.update(array("H", example.ids))
            digest.update(array("f", example.weights))
        return digest.hexdigest()
