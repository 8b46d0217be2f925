"""Index of test questions that finds the training questions which repeat one of them.

A training question is contaminated by a test question that has the same tokens, or of which it has at least half of
the 8-grams and all numbers. 8-grams are those of open-r1 (`scripts/decontaminate.py`), which follows s1 (Muennighoff et
al. 2025, arXiv 2501.19393); the share of a half is that of Tülu 3 (Lambert et al. 2024, arXiv 2411.15124). One shared
8-gram, as in open-r1, or 13-gram (GPT-3: Brown et al. 2020, arXiv 2005.14165, appendix C) would exclude problems that
only come from the same template. The numbers are compared because a problem with another number has another answer.

An 8-gram of more than ten test questions is a phrase of the genre and does not count: GPT-3 ignores those with more
than ten matches (ibid.). This also bounds the time to ten steps for each token of a training question.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from deepmath.data.question_tokens import is_number, question_key, question_tokens

NGRAM = 8
MIN_OVERLAP = 0.5
_MOST_SHARING = 10
_MOST_TOKENS = 4096  # of a test question, in the index; further ones are compared only if all are the same


@dataclass(frozen=True)
class TestMatch:
    """A test question that a training question repeats."""

    __test__ = False  # for pytest, which collects classes by this prefix

    number: int
    """Index of the test question."""
    overlap: float
    """Share of the test question's 8-grams, 0.5 to 1; 1 if the two have the same tokens."""


class ContaminationIndex:
    """Test questions by their tokens and 8-grams. The memory is linear in the length of the test questions."""

    def __init__(self, questions: Iterable[str]) -> None:
        self._by_key: dict[bytes, int] = {}
        self._by_ngram: dict[int, list[int]] = {}
        self._numbers: dict[int, Counter[str]] = {}
        for number, question in enumerate(questions):
            tokens = question_tokens(question)
            if tokens and self._by_key.setdefault(question_key(tokens), number) == number:
                self._add(number, tokens[:_MOST_TOKENS])
        self._by_ngram = {one: sharing for one, sharing in self._by_ngram.items() if len(sharing) <= _MOST_SHARING}
        self._sizes = Counter(number for sharing in self._by_ngram.values() for number in sharing)

    def _add(self, number: int, tokens: list[str]) -> None:
        self._numbers[number] = _numbers(tokens)
        for ngram in set(_ngrams(tokens)):
            sharing = self._by_ngram.setdefault(ngram, [])
            if len(sharing) <= _MOST_SHARING:
                sharing.append(number)

    def match(self, question: str) -> TestMatch | None:
        """Return the test question that `question` repeats most of, or None."""
        tokens = question_tokens(question)
        if not tokens:
            return None
        if (same := self._by_key.get(question_key(tokens))) is not None:
            return TestMatch(same, 1.0)
        shared = Counter(number for ngram in set(_ngrams(tokens)) for number in self._by_ngram.get(ngram, ()))
        numbers = _numbers(tokens)
        overlaps = {
            number: count / self._sizes[number]
            for number, count in shared.items()
            if count >= MIN_OVERLAP * self._sizes[number] and self._numbers[number] <= numbers
        }
        if not overlaps:
            return None
        best = max(overlaps, key=lambda number: (overlaps[number], -number))
        return TestMatch(best, overlaps[best])


class SeenQuestions:
    """The questions so far, by their tokens. The memory is some 100 bytes per question."""

    def __init__(self) -> None:
        self._by_key: dict[bytes, int] = {}
        self._count = 0

    def add(self, question: str) -> int | None:
        """Return the index of the first question with the same tokens, or None if this is the first."""
        number, self._count = self._count, self._count + 1
        first = self._by_key.setdefault(question_key(question_tokens(question)), number)
        return None if first == number else first


def _ngrams(tokens: list[str]) -> Iterator[int]:
    """Yield the hashes of the 8-grams. Python's hash of text is keyed: nobody can prepare a collision."""
    return map(hash, zip(*(islice(tokens, start, None) for start in range(NGRAM)), strict=False))


def _numbers(tokens: list[str]) -> Counter[str]:
    return Counter(filter(is_number, tokens))
