"""Templates, the code of a tool call, and what the model reads of a result."""

import re
from pathlib import Path

import pytest
from deepmath_generator.agent_prompt import PromptTemplate, result_text

from deepmath.data.transcript import called_code
from deepmath.errors import InvalidRequest
from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.allowed_modules import ALLOWED_MODULES

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>\n```output\n(.*?)\n```", re.DOTALL)
EXAMPLE = re.compile(r"Question: .*?(?=\n\nQuestion: |\Z)", re.DOTALL)


@pytest.fixture(scope="module")
def default() -> PromptTemplate:
    return PromptTemplate.load("any/model")


def test_default_names_every_allowed_module(default: PromptTemplate) -> None:
    assert ", ".join(ALLOWED_MODULES) in default.agent


def test_default_has_four_examples(default: PromptTemplate) -> None:
    assert len(EXAMPLE.findall(default.agent)) == 4


async def test_outputs_in_the_examples_are_what_the_executor_gives(default: PromptTemplate, executor) -> None:
    for example in EXAMPLE.findall(default.agent):
        async with executor.session() as session:
            for code, output in CALL.findall(example):
                assert result_text(await session.run(code)) == output


def test_an_example_uses_a_variable_of_its_first_snippet_in_its_second(default: PromptTemplate) -> None:
    pairs = [CALL.findall(example) for example in EXAMPLE.findall(default.agent)]
    (first, _), (second, _) = next(calls for calls in pairs if len(calls) == 2)
    assert re.search(r"^S = ", first, re.MULTILINE)
    assert re.search(r"\bS\b", second)
    assert "S =" not in second


def test_model_brings_its_own_template(config) -> None:
    template = PromptTemplate.load(config.model)
    assert (template.name, template.agent) == ("tiny-math", "Use Python.")


def test_named_template_wins_over_the_models_own(config) -> None:
    assert PromptTemplate.load(config.model, "default").name == "default"


@pytest.mark.parametrize("content", ["plain = ", 'plain = "x"', "agent = 1\nplain = 2", None])
def test_unusable_template_is_refused_by_its_path(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidRequest, match=r"mine\.toml"):
        PromptTemplate.load("any", str(file))


@pytest.mark.parametrize(
    ("segment", "code"),
    [
        ("<tool_call>\n1+1\n</tool_call>", "1+1"),
        ("Words <tool_call>\nx = 2\nx\n</tool_call>", "x = 2\nx"),
        ("<tool_call>\n```python\n1+1\n```\n</tool_call>", "1+1"),
        ("<tool_call>\n    indented = 1\n</tool_call>", "    indented = 1"),
        ("<tool_call></tool_call>", ""),
        ("<tool_call>a</tool_call> and <tool_call>b</tool_call>", "b"),
        ("no call", None),
        ("</tool_call>", None),
        ("<tool_call>\nunfinished", None),
    ],
)
def test_code_of_a_segment(segment: str, code: str | None) -> None:
    assert called_code(segment) == code


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (pb.SnippetResult(outcome=pb.OUTCOME_OK, stdout="3\n", value="4"), "3\n4"),
        (pb.SnippetResult(outcome=pb.OUTCOME_OK), "(no output)"),
        (
            pb.SnippetResult(outcome=pb.OUTCOME_OK, stdout="19", dropped_bytes=pb.DroppedBytes(stdout=7)),
            "19\n(7 bytes were cut out of the middle)",
        ),
        (
            pb.SnippetResult(
                outcome=pb.OUTCOME_EXCEPTION,
                stdout="1\n",
                exception=pb.SnippetException(type="ZeroDivisionError", message="division by zero"),
            ),
            "1\nZeroDivisionError: division by zero",
        ),
        (
            pb.SnippetResult(
                outcome=pb.OUTCOME_WALL_TIMEOUT, stdout="1\n", state_lost=True, usage=pb.Usage(wall_ms=2004)
            ),
            "1\nTimeoutError: stopped after 2 s; variables are lost",
        ),
        (pb.SnippetResult(outcome=pb.OUTCOME_CRASHED, state_lost=True), "Error: crashed; variables are lost"),
    ],
)
def test_text_of_a_result(result: pb.SnippetResult, text: str) -> None:
    assert result_text(result) == text
