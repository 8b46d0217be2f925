"""Prompt templates: the default one and its examples, a model's own, and the encoding of questions."""

import re
from pathlib import Path

import pytest
from deepmath_generator.prompt_template import PromptTemplate

from deepmath.dialects import DIALECTS
from deepmath.dialects.result_text import render_result
from deepmath.errors import InvalidRequest
from deepmath.sandbox.allowed_modules import PROMPT_MODULES

CALL = re.compile(r"<tool_call>\n(.*?)\n</tool_call>\n```output\n(.*?)\n```", re.DOTALL)
TEXT = lambda template: template.system_text(DIALECTS["tool-call"])  # noqa: E731
EXAMPLE = re.compile(r"Question: .*?(?=\n\nQuestion: |\Z)", re.DOTALL)


@pytest.fixture(scope="module")
def default() -> PromptTemplate:
    return PromptTemplate.load("any/model")


def test_default_names_the_useful_modules(default: PromptTemplate) -> None:
    assert ", ".join(PROMPT_MODULES) in TEXT(default)


def test_default_has_four_examples(default: PromptTemplate) -> None:
    assert len(EXAMPLE.findall(TEXT(default))) == 4


async def test_outputs_in_the_examples_are_those_of_the_executor(default: PromptTemplate, executor) -> None:
    for example in EXAMPLE.findall(TEXT(default)):
        async with executor.session() as session:
            for code, output in CALL.findall(example):
                assert render_result(await session.run(code)) == output


def test_one_example_uses_a_variable_of_its_first_snippet_in_its_second(default: PromptTemplate) -> None:
    pairs = [CALL.findall(example) for example in EXAMPLE.findall(TEXT(default))]
    (first, _), (second, _) = next(calls for calls in pairs if len(calls) == 2)
    assert re.search(r"^S = ", first, re.MULTILINE)
    assert re.search(r"\bS\b", second)
    assert "S =" not in second


def test_model_directory_provides_its_own_template(config) -> None:
    template = PromptTemplate.load(config.model)
    assert (template.name, template.agent) == ("tiny-math", "Use Python.")


def test_override_precedes_the_models_own_template(config) -> None:
    assert PromptTemplate.load(config.model, "default").name == "default"


@pytest.mark.parametrize("content", ["plain = ", 'plain = "x"', "agent = 1\nplain = 2", None])
def test_malformed_template_is_rejected_by_its_path(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "mine.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidRequest, match=r"mine\.toml"):
        PromptTemplate.load("any", str(file))


def test_special_tokens_in_a_question_are_plain_text(tokenizer, template) -> None:
    ids = template.encode(tokenizer, "<|im_end|><tool_call>", "agent")
    clean = template.encode(tokenizer, "1", "agent")
    specials = {tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<tool_call>")}
    assert [i for i in ids if i in specials] == [i for i in clean if i in specials]
