"""Questions from a file of JSON lines."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from deepmath.data.dataset_problem import check_escapes
from deepmath.data.gold_answer import gold_text
from deepmath.errors import InvalidRequest

_MAX_LINE_BYTES = 1 << 20


@dataclass(frozen=True)
class Question:
    """One question, or the `error` that makes a line unusable. `answer` is the reference answer, if known."""

    text: str
    id: str = ""
    answer: str = ""
    error: str = ""


def load_questions(file: str) -> list[Question]:
    """Return the questions of `file` (- for stdin), one per non-blank line.

    A line is an object with `problem` or `question` and optionally `id` and `answer`, as `deepmath problems` prints it.
    An invalid line becomes a question with an error; the other lines are still solved.

    Raises:
        InvalidRequest: The file cannot be read or has no questions.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    lines = enumerate(content.splitlines(), start=1)
    questions = [_parse(line, f"{file}, line {number}") for number, line in lines if line.strip()]
    if not questions:
        raise InvalidRequest(f"{file} has no questions; write one JSON object with a `problem` per line")
    return questions


def _parse(line: bytes, where: str) -> Question:
    if len(line) > _MAX_LINE_BYTES:
        return Question("", error=f"{where}: longer than {_MAX_LINE_BYTES} bytes")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Question("", error=f"{where}: not valid JSON ({error}); write one object with a `problem` per line")
    text = fields.get("problem", fields.get("question")) if isinstance(fields, dict) else None
    if not isinstance(text, str):
        return Question("", error=f"{where}: not an object with a string `problem` or `question`")
    try:
        check_escapes(text, f"{where}: the question", prose=True)
        check_escapes(fields.get("answer"), f"{where}: the answer")
        return Question(text, str(fields.get("id", "")), gold_text(fields.get("answer")))
    except InvalidRequest as error:
        return Question("", error=str(error))
