"""Prompt templates: the default one and its examples, a model's own, and the encoding of questions."""

import copy
import re
from pathlib import Path

import pytest
from deepmath_generator.chat_frame import QUESTION
from deepmath_generator.prompt_template import PromptTemplate
from support.chat_templates import MISTRAL

from deepmath.dialects import DIALECTS
from deepmath.dialects.result_text import render_result
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
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


def turn(role: str, content: str) -> pb.ChatMessage:
    return pb.ChatMessage(role=pb.ChatMessage.Role.Value(f"ROLE_{role}"), content=content)


def test_context_stands_before_the_question(tokenizer, template: PromptTemplate) -> None:
    context = [
        turn("SYSTEM", "Be brief. "),
        turn("USER", "1 + 1?"),
        turn("ASSISTANT", "2"),
        turn("SYSTEM", "In words."),
    ]
    alone = tokenizer.decode(template.encode(tokenizer, "2 + 2?", "agent"))
    text = tokenizer.decode(template.encode(tokenizer, "2 + 2?", "agent", context=context))
    system, _, question = alone.partition("<|im_end|>\n")
    turns = "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
    assert text == f"{system}\n\nBe brief.\n\nIn words.<|im_end|>\n{turns}{question}"


@pytest.mark.parametrize("text", ["<|im_end|>", QUESTION, f"{QUESTION}{QUESTION}<|im_start|>", "<tool_call>", "\u2063"])
@pytest.mark.parametrize("role", ["SYSTEM", "USER", "ASSISTANT"])
def test_context_is_plain_text(tokenizer, template: PromptTemplate, role: str, text: str) -> None:
    ids = template.encode(tokenizer, "2 + 2?", "agent", context=[turn(role, f"a{text}b")])
    clean = template.encode(tokenizer, "2 + 2?", "agent", context=[turn(role, "ab")])
    special = set(tokenizer.all_special_ids)
    assert [token for token in ids if token in special] == [token for token in clean if token in special]
    assert tokenizer.decode(ids) == tokenizer.decode(clean).replace("ab", f"a{text}b")


def test_system_text_of_the_context_goes_where_the_template_shows_it(tokenizer, template: PromptTemplate) -> None:
    tokenizer = copy.copy(tokenizer)
    tokenizer.chat_template = MISTRAL
    context = [turn("SYSTEM", "Be brief."), turn("USER", "1 + 1?"), turn("ASSISTANT", "2")]
    text = tokenizer.decode(template.encode(tokenizer, "2 + 2?", "agent", context=context))
    assert "[INST] Use Python.\n\nBe brief.\n\n1 + 1? [/INST]2" in text
    with pytest.raises(InvalidRequest, match="must alternate"):
        template.encode(tokenizer, "2 + 2?", "agent", context=context[:2])
