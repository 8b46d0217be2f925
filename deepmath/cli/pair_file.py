"""Pairs of a gold answer and a model's answer from JSON lines, read as they arrive."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from deepmath.data.dataset_problem import check_escapes
from deepmath.data.gold_answer import gold_text
from deepmath.data.json_rows import parse_json
from deepmath.errors import InvalidRequest
from deepmath.grading.answer_extraction import extract_boxed
from deepmath.user_files import STDIN, has_wide_mark, name_of, user_path

MAX_LINE_BYTES = 1 << 20
_BATCH = 16  # printed together; enough for the sandboxes of eight processors to overlap
_READ_BYTES = 1 << 16
_STDIN_DESCRIPTOR = 0
_EXAMPLE = r'{"gold": "\\frac{1}{2}", "answer": "0.5"}'


@dataclass(frozen=True)
class GradingPair:
    """A gold answer and a model's answer, as they were given and as they are graded."""

    given_gold: object
    given_answer: object
    gold: str = ""
    answer: str = ""
    error: str = ""
    """Why a line is not a pair; empty otherwise."""
    warning: str = ""

    @classmethod
    def of(cls, gold: object, answer: object) -> "GradingPair":
        """Return the pair of these values of JSON. Of an answer with boxes, the content of the last one is graded.

        Raises:
            InvalidRequest: one of them is an object or a list in a list.
        """
        text = answer if isinstance(answer, str) else gold_text(answer)
        return cls(gold, answer, gold_text(gold), extract_boxed(text) or text)


def read_pairs(file: str) -> Iterator[list[GradingPair]]:
    """Yield the pairs of `file` (- for stdin) in batches, one pair per non-blank line.

    A batch has the lines that can be read without waiting, at most 16. A line that is not a pair becomes one with an
    error.

    Raises:
        InvalidRequest: the file cannot be read.
    """
    batch: list[GradingPair] = []
    number = 0
    for lines in _available_lines(file):
        for line in lines:
            number += 1
            if line.strip():
                batch.append(_parse(line, f"{name_of(file)}, line {number}"))
            if len(batch) == _BATCH:
                yield batch
                batch = []
        if batch:
            yield batch
            batch = []


def _available_lines(file: str) -> Iterator[list[bytes]]:
    """Yield the lines of each read. Of a line that is too long, the start."""
    descriptor = _open(file)
    try:
        rest = b""
        while chunk := os.read(descriptor, _READ_BYTES):
            if not rest and has_wide_mark(chunk):  # rewritten as UTF-8 it could not be read as it arrives
                raise InvalidRequest(f"{name_of(file)} is UTF-16 or UTF-32; save it as UTF-8")
            *lines, last = chunk.split(b"\n")
            if lines:
                lines[0], rest = rest + lines[0], b""
                yield lines
            if len(rest) <= MAX_LINE_BYTES:
                rest += last
        if rest:
            yield [rest]
    except OSError as error:
        raise InvalidRequest(f"cannot read {name_of(file)}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def _open(file: str) -> int:
    try:
        return os.dup(_STDIN_DESCRIPTOR) if file == STDIN else os.open(user_path(file), os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise InvalidRequest(f"cannot read {name_of(file)}: {error.strerror}") from None


def _parse(line: bytes, where: str) -> GradingPair:
    try:
        if len(line) > MAX_LINE_BYTES:
            raise InvalidRequest(f"{where} is longer than {MAX_LINE_BYTES >> 20} MiB")
        fields = parse_json(line, where)
        if not isinstance(fields, dict) or not fields.keys() >= {"gold", "answer"}:
            raise InvalidRequest(f"{where} is not an object with `gold` and `answer`, such as {_EXAMPLE}")
    except InvalidRequest as error:
        return GradingPair(None, None, error=str(error))
    gold, answer = fields["gold"], fields["answer"]
    try:
        check_escapes(gold, "`gold`")
        pair = GradingPair.of(gold, answer)
    except InvalidRequest as error:
        return GradingPair(gold, answer, error=f"{where}: {error}")
    try:
        check_escapes(answer, "`answer`", prose=True)
    except InvalidRequest as error:  # a model may write anything, and gets a verdict
        return replace(pair, warning=f"{where}: {error}")
    return pair
