r"""Extraction of the final answer, the last `\boxed{...}`, from a model's text."""

_BOX = "\\boxed{"


def extract_boxed(text: str) -> str:
    r"""Return the content of the last complete `\boxed{...}` in `text` (balanced braces), or "" if there is none."""
    start = text.rfind(_BOX)
    while start >= 0:
        depth = 1
        for position in range(start + len(_BOX), len(text)):
            depth += (text[position] == "{") - (text[position] == "}")
            if depth == 0:
                return text[start + len(_BOX) : position].strip()
        start = text.rfind(_BOX, 0, start)
    return ""
