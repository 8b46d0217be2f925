r"""Equivalence classes of answers: 1/2, 0.5 and \frac12 are one answer, in a vote and in a report.

Theory of operation. Equality of answers, as graded, is not transitive: 50 equals 50%, and 50% equals 0.5. Therefore
each class has a leader, its most frequent spelling, and an answer joins the first class whose leader it equals. Leaders
are chosen by votes and then alphabetically, so that the classes do not depend on the order of the answers. Spellings of
one number or text are merged first, without a comparison. All limits below bound what hostile answers can cost: an
answer that is too costly to compare, or for which there is no comparison left, is a class of its own.
"""

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import islice

from deepmath.grading.answer_normalization import CanonicalForm, canonical_form
from deepmath.grading.exact_comparison import MAX_CHARACTERS, compare_exactly
from deepmath.grading.verdict import Reason, Verdict

AnswerPair = tuple[str, str]
Verify = Callable[[Sequence[AnswerPair]], Sequence[Verdict]]
"""`Verifier.verify`: the verdicts on (gold, answer) pairs."""

MOST_ANSWERS = 64
"""Different answers per vote that are compared with others: those with the most votes."""
MOST_LEADERS = 32
"""Classes per vote with which other answers are compared."""
MOST_SQUARED_CHARACTERS = 30_000_000
"""Sum over the exact comparisons of a vote of their squared length: 75 000 of short answers, ten of the longest."""
MOST_COMPARISONS = 512
"""Symbolic comparisons per vote. 32 samples with 32 different answers take 496."""
MOST_COSTLY = 8
"""Comparisons per vote that may hit a limit of time or memory, or fail."""
_BATCH = 8

_COSTLY_ANSWER = {Reason.ANSWER_TIMEOUT, Reason.ANSWER_MEMORY, Reason.ANSWER_CRASHED}
_COSTLY = _COSTLY_ANSWER | {Reason.GOLD_TOO_COSTLY, Reason.FAILED}
_BAD_ANSWER = _COSTLY_ANSWER | {Reason.ANSWER_TOO_LONG, Reason.ANSWER_UNREADABLE}
_BAD_LEADER = {Reason.GOLD_DAMAGED, Reason.GOLD_UNREADABLE, Reason.GOLD_TOO_COSTLY}

_Partition = Generator[list[AnswerPair], Sequence[Verdict], list[list[str]]]
"""Yields pairs to compare, receives their verdicts, and returns the classes."""


def equivalence_classes(votes: Sequence[Iterable[str]], verify: Verify | None) -> list[dict[str, int]]:
    """Return for each vote the class number of each of its answers, from 0 for the most frequent leader.

    Empty answers have no class. Without `verify` only answers that need no symbolic comparison are merged.
    """
    grouped = [_spellings(answers) for answers in votes]
    found = _run([_partition([spellings[0] for spellings in one]) for one in grouped], verify)
    numbered = []
    for spellings_by_form, classes in zip(grouped, found, strict=True):
        number = {leader: at for at, leaders in enumerate(classes) for leader in leaders}
        numbered.append({text: number[one[0]] for one in spellings_by_form for text in one})
    return numbered


def _spellings(answers: Iterable[str]) -> list[list[str]]:
    """Return the answers grouped by canonical form, most votes first; in each group the most frequent first."""
    counts = Counter(filter(None, answers))
    groups: dict[CanonicalForm, list[str]] = {}
    for text in sorted(counts, key=lambda text: (-counts[text], text)):
        groups.setdefault(canonical_form(text) if len(text) <= MAX_CHARACTERS else text, []).append(text)
    return sorted(groups.values(), key=lambda group: (-sum(counts[text] for text in group), group[0]))


def _run(partitions: list[_Partition], verify: Verify | None) -> list[list[list[str]]]:
    """Run all partitions side by side, so that their comparisons form large batches."""
    results: dict[int, list[list[str]]] = {}
    requests: dict[int, list[AnswerPair]] = {}

    def advance(at: int, verdicts: Sequence[Verdict] | None) -> None:
        try:
            requests[at] = next(partitions[at]) if verdicts is None else partitions[at].send(verdicts)
        except StopIteration as ended:
            results[at] = ended.value

    for at in range(len(partitions)):
        advance(at, None)
    while requests:
        current, requests = requests, {}
        pairs = [pair for request in current.values() for pair in request]
        verdicts = iter(verify(pairs) if verify else [Verdict(None, Reason.FAILED)] * len(pairs))
        for at, request in current.items():
            advance(at, list(islice(verdicts, len(request))))
    return [results[at] for at in range(len(partitions))]


def _partition(texts: list[str]) -> _Partition:
    """Partition distinct answers, the most frequent first."""
    classes: list[list[str]] = []
    rest = texts[MOST_ANSWERS:]
    texts = texts[:MOST_ANSWERS]
    characters, comparisons, costly = MOST_SQUARED_CHARACTERS, MOST_COMPARISONS, 0
    alone: set[str] = set()  # answers that no further comparison would help
    while texts and len(classes) < MOST_LEADERS:
        leader, *others = texts
        members, undecided = set(), []
        for other in others:
            cost = (len(leader) + len(other)) ** 2
            if cost > characters:
                continue
            characters -= cost
            same = compare_exactly(leader, other)
            if same:
                members.add(other)
            elif same is None and other not in alone:
                undecided.append(other)
        for batch in _batches(undecided):
            if leader in alone or costly >= MOST_COSTLY or comparisons < len(batch):
                break
            comparisons -= len(batch)
            verdicts = yield [(leader, other) for other in batch]
            for other, verdict in zip(batch, verdicts, strict=True):
                costly += verdict.reason in _COSTLY
                if verdict.correct:
                    members.add(other)
                if verdict.reason in _BAD_ANSWER:
                    alone.add(other)
                if verdict.reason in _BAD_LEADER:
                    alone.add(leader)
        classes.append([leader, *(other for other in others if other in members)])
        texts = [other for other in others if other not in members]
    return classes + [[text] for text in texts + rest]


def _batches(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _BATCH):
        yield texts[start : start + _BATCH]
