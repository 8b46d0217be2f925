"""The text form of a finished trajectory, divided for reading into prose, calls and outputs."""

from collections.abc import Iterator

from deepmath.dialects.dialect import Dialect, TranscriptPart
from deepmath.dialects.dialect_registry import DIALECTS


def parse_transcript(text: str, dialect: Dialect = DIALECTS["tool-call"]) -> Iterator[TranscriptPart]:
    """Yield the parts of `text` in order. An unfinished call extends to the end. Takes time linear in the text."""
    marks, outputs = dialect.marks, dialect.output_reader()
    prose = position = 0  # the starts of the current stretch of prose, and of what is not read yet
    while mark := marks.in_prose.search(text, position):
        position = mark.end()
        if mark.lastgroup == "output" and (output := outputs.read(text, max(0, mark.start() - 1))):
            if mark.start() > prose:
                yield TranscriptPart("prose", text[prose : mark.start()])
            shown, prose = output
            position = prose
            yield TranscriptPart("output", shown)
        if mark.lastgroup != "start":
            continue
        if mark.start() > prose:
            yield TranscriptPart("prose", text[prose : mark.start()])
        code = mark.end()
        end = next((found for found in marks.in_call.finditer(text, code) if found.lastgroup == "end"), None)
        yield TranscriptPart("call", text[code : end.start() if end else None].strip("\n"))
        if end is None:
            return
        prose = position = end.end()
        if output := outputs.read(text, position):
            shown, prose = output
            position = prose
            yield TranscriptPart("output", shown)
    if prose < len(text):
        yield TranscriptPart("prose", text[prose:])
