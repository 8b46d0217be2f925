"""Questions from a file of JSON lines."""

import codecs
from dataclasses import dataclass

from deepmath.data.dataset_problem import DatasetProblem
from deepmath.data.json_rows import parse_json
from deepmath.errors import InvalidRequest
from deepmath.user_files import decode_text, has_wide_mark, name_of, read_bytes

_MAX_FILE_BYTES = 1 << 30
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
    The problem is a text, or chat messages (see `question_text`).
    An invalid line becomes a question with an error; the other lines are still solved.

    Raises:
        InvalidRequest: The file cannot be read or has no questions, or all its lines are invalid.
    """
    content, name = read_bytes(file, _MAX_FILE_BYTES), name_of(file)
    if has_wide_mark(content):
        content = decode_text(content, name).encode()
    lines = enumerate(content.removeprefix(codecs.BOM_UTF8).splitlines(), start=1)
    questions = [_parse(line, f"{name}, line {number}") for number, line in lines if line.strip()]
    if not questions:
        raise InvalidRequest(f"{name} has no questions; write one JSON object with a `problem` per line")
    if all(question.error for question in questions):
        more = f" (and {len(questions) - 1} more lines)" if len(questions) > 1 else ""
        raise InvalidRequest(f"no line can be used: {questions[0].error}{more}")
    return questions


def _parse(line: bytes, where: str) -> Question:
    try:
        if len(line) > _MAX_LINE_BYTES:
            raise InvalidRequest(f"{where}: longer than {_MAX_LINE_BYTES} bytes")
        fields = parse_json(line, where)
        if not isinstance(fields, dict) or not fields.keys() & {"problem", "question"}:
            raise InvalidRequest(f"{where}: not an object with a `problem` or `question`")
        problem = DatasetProblem.of(fields.get("problem", fields.get("question")), fields.get("answer"), where=where)
        return Question(problem.text, str(fields.get("id") or ""), problem.answer)
    except InvalidRequest as error:
        return Question("", error=str(error))
