"""Traces to read: which samples of a run, and the parts of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest

from deepmath.data.transcript import parse_transcript
from deepmath.evaluation.evaluation_run import GradedSample, Key, questions, read
from deepmath.evaluation.sample_records import SampleRecord

_LONGEST_PART = 20_000  # characters
_OF_A_RECORD = 200_000
_OF_ALL = 4_000_000  # a page of a dozen MiB when it is marked up


@dataclass(frozen=True)
class TracePart:
    """What the model thought, the code that it wrote, or what it read of the code's output."""

    kind: str
    """`thought`, `code` or `output`."""
    text: str
    outcome: str = ""
    """Of code that was run and did not end well."""


@dataclass(frozen=True)
class SampleTrace:
    """A sample to read."""

    configuration: str
    question: str
    """Empty where the run has it no more."""
    sample: GradedSample
    parts: tuple[TracePart, ...]

    @property
    def verdict(self) -> str:
        """`right`, `wrong`, `no answer`, or `no verdict` where comparing took too long."""
        return _verdict(self.sample)


def traces(records: Sequence[SampleRecord], most: int) -> list[list[SampleTrace]]:
    """Return at most `most` samples of each record: of each verdict in turn, the first of each problem first.

    There are fewer where they are long: together they are what a page can hold.
    """
    chosen = [_chosen(record, most) for record in records]
    keys = {(record.folder, key) for record, own in zip(records, chosen, strict=True) for key in own}
    found = {
        (folder, sample.key): sample
        for folder in dict.fromkeys(record.folder for record in records)
        for sample in read(folder)
        if (folder, sample.key) in keys
    }
    room = min(_OF_A_RECORD, _OF_ALL // max(1, len(records)))
    return [
        _fitting(record, [found[record.folder, key] for key in own if (record.folder, key) in found], room)
        for record, own in zip(records, chosen, strict=True)
    ]


def parts(sample: GradedSample) -> list[TracePart]:
    """Return what happened in a sample, in order."""
    found = []
    snippets = iter(sample.snippets)
    for part in parse_transcript(sample.text):
        if part.kind == "call":
            snippet = next(snippets, {"code": part.text, "outcome": ""})
            outcome = "" if snippet["outcome"] == "OK" else snippet["outcome"].lower().replace("_", " ")
            found.append(TracePart("code", _cut(snippet["code"]), outcome))
        elif part.kind == "output" and part.text:
            found.append(TracePart("output", _cut(part.text)))
        elif part.kind == "prose" and part.text.strip():
            found.append(TracePart("thought", _cut(part.text)))
    return found


def _verdict(sample: GradedSample) -> str:
    if sample.correct is None:
        return "no verdict"
    return "right" if sample.correct else "wrong" if sample.answer else "no answer"


def _chosen(record: SampleRecord, most: int) -> list[Key]:
    by_verdict: dict[str, list[Key]] = {}
    for sample in sorted(record.samples, key=lambda one: (one.sample, one.problem_id)):
        by_verdict.setdefault(_verdict(sample), []).append(sample.key)
    return [key for key in chain(*zip_longest(*by_verdict.values())) if key][:most]


def _fitting(record: SampleRecord, samples: list[GradedSample], room: int) -> list[SampleTrace]:
    found: list[SampleTrace] = []
    asked = questions(record.folder)
    for sample in samples:
        question = asked.get((sample.benchmark, sample.problem_id), "")
        trace = SampleTrace(record.configuration, question, sample, tuple(parts(sample)))
        room -= sum(len(part.text) for part in trace.parts)
        if found and room < 0:
            break
        found.append(trace)
    return found


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_PART:
        return text
    half = _LONGEST_PART // 2
    return f"{text[:half]}\n[{len(text) - 2 * half} characters are left out here]\n{text[-half:]}"
