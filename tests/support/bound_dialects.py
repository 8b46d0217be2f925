"""The dialects, bound to the tool turns of their families' chat templates, and what a hostile model writes in them."""

from deepmath.dialects import DIALECTS, Dialect, MalformedCall
from deepmath.dialects.dialect_parser import CallParser
from deepmath.dialects.hermes_dialect import HermesDialect
from deepmath.dialects.python_tag_dialect import PythonTagDialect
from deepmath.dialects.tool_turn import ToolTurn
from deepmath.generator.v1 import generator_pb2 as pb

HEADER = "<|start_header_id|>{}<|end_header_id|>\n\n"
BOUND: dict[str, Dialect] = {
    **DIALECTS,
    "hermes": HermesDialect(
        ToolTurn(
            "<|im_end|>\n<|im_start|>user\n<tool_response>\n",
            "\n</tool_response><|im_end|>\n<|im_start|>assistant\n",
        )
    ),
    "python-tag": PythonTagDialect(
        ToolTurn("<|eot_id|>" + HEADER.format("ipython"), "<|eot_id|>" + HEADER.format("assistant"))
    ),
}
MARKS = [
    *("<tool_call>", "</tool_call>", "<tool_response>\n", "\n</tool_response>", "<think>", "</think>", "<|im_start|>"),
    *("\n```output\n", "\n```\n", "\n```python\n", "```", "\n  ``` Output \r\n", "output\n", "python\n"),
    *("<|python_tag|>", "<|eom_id|>", HEADER.format("ipython"), "<|eot_id|>" + HEADER.format("assistant")),
    *("\n</tool_response><|im_end|>\n<|im_start|>assistant\n", "<|im_end|>"),
]


def end_of_turn(dialect: Dialect) -> str:
    """Return the token with which a model of the family ends its turn."""
    return "<|eot_id|>" if dialect.name == "python-tag" else "<|im_end|>"


def replay(run: pb.Trajectory, dialect: Dialect) -> tuple[list[str], str]:
    """Return the code of each tool segment's call, and the prose, read from the segments' texts alone.

    No text of the model may hold the start of an output.
    """
    parser, pending, codes = CallParser(dialect.marks), list[str | None](), list[str]()
    for segment in run.segments:
        if segment.source == pb.Segment.SOURCE_MODEL:
            ends = list(parser.ends(segment.text))
            assert [end.cut for end in ends if end.cut is not None] == []
            pending += [end.text for end in ends]
        else:
            codes.append(_code(dialect, pending.pop(0) if pending else parser.end_call()))
            parser.follow(segment.text)
    return codes, parser.prose


def _code(dialect: Dialect, call: str | None) -> str:
    try:
        code = dialect.code(call or "")
        code.encode()
    except (MalformedCall, UnicodeEncodeError):
        return ""
    return code
