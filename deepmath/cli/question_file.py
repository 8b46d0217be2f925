"""Questions from the command line or a file of JSON lines."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from deepmath.errors import InvalidRequest

_LONGEST_LINE = 1 << 20


@dataclass(frozen=True)
class Question:
    """A question, or the reason why a line has none. `answer` is the right one where it is known."""

    text: str
    id: str = ""
    answer: str = ""
    error: str = ""


def read(file: str) -> list[Question]:
    """Return the questions of `file` (- for standard input), one for each line that is not blank.

    A line is an object with `problem` or `question`, and may have `id` and `answer`, as `deepmath problems` prints it.
    A line that is none becomes a question with an error, so that the others are not lost.

    Raises:
        InvalidRequest: the file cannot be read, or has no question.
    """
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise InvalidRequest(f"cannot read {file}: {error.strerror}") from None
    lines = enumerate(content.splitlines(), start=1)
    questions = [_parse(line, f"{file}, line {number}") for number, line in lines if line.strip()]
    if not questions:
        raise InvalidRequest(f"{file} has no question; give one JSON object a line with a `problem`")
    return questions


def _parse(line: bytes, where: str) -> Question:
    if len(line) > _LONGEST_LINE:
        return Question("", error=f"{where}: longer than {_LONGEST_LINE} bytes")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Question("", error=f"{where}: no JSON ({error}); give one object a line with a `problem`")
    text = fields.get("problem", fields.get("question")) if isinstance(fields, dict) else None
    if not isinstance(text, str):
        return Question("", error=f"{where}: no object with a text `problem` or `question`")
    return Question(text, str(fields.get("id", "")), str(fields.get("answer", "")))
