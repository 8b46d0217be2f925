"""Selection of traces to read, and their division into prose, code and output."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from deepmath.dialects import known_dialect
from deepmath.dialects.transcript import parse_transcript
from deepmath.evaluation.evaluation_files import read_questions, read_samples
from deepmath.evaluation.graded_sample import GradedSample, SampleKey
from deepmath.evaluation.sample_sets import SampleSet

_MAX_PART_CHARACTERS = 20_000
_MAX_SET_CHARACTERS = 200_000
_MAX_TOTAL_CHARACTERS = 4_000_000  # about a dozen MiB of HTML

CORRECT, INCORRECT, NO_ANSWER, NO_VERDICT = VERDICTS = ("correct", "incorrect", "no answer", "no verdict")


@dataclass(frozen=True)
class TracePart:
    """Prose or code of the model, or output of the code as the model reads it."""

    kind: str
    """`prose`, `code` or `output`."""
    text: str
    outcome: str = ""
    """The outcome of code that ran and did not succeed."""


@dataclass(frozen=True)
class SampleTrace:
    """A sample prepared for reading."""

    configuration: str
    question: str
    """Empty if the run no longer holds it."""
    sample: GradedSample
    parts: tuple[TracePart, ...]

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`. `no verdict`: the gold answer is bad, or the comparison failed."""
        return _verdict(self.sample)


def select_traces(sets: Sequence[SampleSet], limit: int) -> list[list[SampleTrace]]:
    """Return up to `limit` samples of each set, alternating between verdicts, the first sample of each problem first.

    Long traces reduce the number: the total size is bounded by what one page can hold.
    """
    selected = [_select(one, limit) for one in sets]
    keys = {(one.folder, key) for one, own in zip(sets, selected, strict=True) for key in own}
    found = {
        (folder, sample.key): sample
        for folder in dict.fromkeys(one.folder for one in sets)
        for sample in read_samples(folder)
        if (folder, sample.key) in keys
    }
    budget = min(_MAX_SET_CHARACTERS, _MAX_TOTAL_CHARACTERS // max(1, len(sets)))
    return [
        _fit(one, [found[one.folder, key] for key in own if (one.folder, key) in found], budget)
        for one, own in zip(sets, selected, strict=True)
    ]


def trace_parts(sample: GradedSample) -> list[TracePart]:
    """Return the parts of a sample's transcript, in order."""
    found = []
    snippets = iter(sample.snippets)
    for part in parse_transcript(sample.text, known_dialect(sample.dialect)):
        if part.kind == "call":
            snippet = next(snippets, {"code": part.text, "outcome": ""})
            outcome = "" if snippet["outcome"] == "OK" else snippet["outcome"].lower().replace("_", " ")
            found.append(TracePart("code", _shorten(snippet["code"]), outcome))
        elif part.kind == "output" and part.text:
            found.append(TracePart("output", _shorten(part.text)))
        elif part.kind == "prose" and part.text.strip():
            found.append(TracePart("prose", _shorten(part.text)))
    return found


def _verdict(sample: GradedSample) -> str:
    if sample.correct is None:
        return NO_VERDICT
    return CORRECT if sample.correct else INCORRECT if sample.answer else NO_ANSWER


def _select(sample_set: SampleSet, limit: int) -> list[SampleKey]:
    by_verdict: dict[str, list[SampleKey]] = {}
    for sample in sorted(sample_set.samples, key=lambda one: (one.sample, one.problem_id)):
        by_verdict.setdefault(_verdict(sample), []).append(sample.key)
    return [key for key in chain(*zip_longest(*by_verdict.values())) if key][:limit]


def _fit(sample_set: SampleSet, samples: list[GradedSample], budget: int) -> list[SampleTrace]:
    """Return the first traces whose texts have up to `budget` characters together, but at least one."""
    found: list[SampleTrace] = []
    questions = read_questions(sample_set.folder)
    for sample in samples:
        question = questions.get((sample.benchmark, sample.problem_id), "")
        trace = SampleTrace(sample_set.configuration, question, sample, tuple(trace_parts(sample)))
        budget -= sum(len(part.text) for part in trace.parts)
        if found and budget < 0:
            break
        found.append(trace)
    return found


def _shorten(text: str) -> str:
    if len(text) <= _MAX_PART_CHARACTERS:
        return text
    half = _MAX_PART_CHARACTERS // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters omitted]\n{text[-half:]}"
