"""Prompts in the chat templates of model families: the system text, the examples and the question."""

import copy
from dataclasses import replace
from typing import Any

import pytest
from deepmath_generator.model_dialect import model_dialect
from deepmath_generator.prompt_template import PromptTemplate
from support.chat_templates import chat_template

from deepmath.dialects import DIALECTS
from deepmath.errors import InvalidRequest

FENCE = DIALECTS["python-fence"]
QWEN_TEXT = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."


@pytest.fixture
def with_template(tokenizer):
    """Return a tokenizer with another chat template."""

    def make(name: str) -> Any:
        other = copy.deepcopy(tokenizer)
        other.chat_template = chat_template(name) or None
        other.bos_token = other.bos_token or "<|endoftext|>"
        return other

    return make


@pytest.fixture(scope="module")
def default() -> PromptTemplate:
    return PromptTemplate.load("any/model")


@pytest.mark.parametrize(
    "name",
    (
        "qwen2_5 qwen3 qwen3_instruct_2507 qwen3_5_think qwen3_coder llama3 llama3_1 llama3_2 gemma gemma3 gptoss phi3 "
        "cohere deepseekv3 deepseek_r1_distill glm4moe mistral chatml"
    ).split(),
)
def test_every_part_of_a_prompt_is_shown_once_and_in_order(with_template, default, name: str) -> None:
    tokenizer = with_template(name)
    dialect = model_dialect(tokenizer, "any")
    text = tokenizer.decode(default.encode(tokenizer, "What is 2 + 3?", "agent", dialect))
    places = [text.find("You solve mathematics problems")]
    places += [text.find(example.question) for example in default.examples]
    places += [text.find("213"), text.find("What is 2 + 3?")]
    assert -1 not in places
    assert places[0] < places[1] < places[-2] < places[-1]
    assert text.count("You solve mathematics problems") == text.count("What is 2 + 3?") == 1
    plain = tokenizer.decode(default.encode(tokenizer, "What is 2 + 3?", "plain", dialect))
    assert plain.find("Reason step by step") < plain.find("What is 2 + 3?")
    assert "213" not in plain


@pytest.mark.parametrize("name", ["gemma", "mistral"])
def test_system_text_that_a_template_rejects_is_in_the_first_turn_of_the_user(with_template, default, name) -> None:
    tokenizer = with_template(name)
    start = {"gemma": "<start_of_turn>user\n", "mistral": "[INST] "}[name]
    for mode in ("agent", "plain"):
        text = tokenizer.decode(default.encode(tokenizer, "What is 2 + 3?", mode, FENCE))
        assert f"{start}You solve mathematics problems" in text


def test_without_a_system_text_the_templates_own_one_is_not_shown(with_template, default) -> None:
    tokenizer = with_template("qwen2_5")
    text = tokenizer.decode(replace(default, plain="").encode(tokenizer, "What is 2 + 3?", "plain", FENCE))
    assert QWEN_TEXT in tokenizer.chat_template
    assert "Qwen" not in text
    assert text.startswith("<|im_start|>system\n<|im_end|>\n<|im_start|>user\nWhat is 2 + 3?")


def test_a_template_without_a_text_of_its_own_gets_no_empty_one(with_template, default) -> None:
    tokenizer = with_template("qwen3")
    text = tokenizer.decode(replace(default, plain="").encode(tokenizer, "What is 2 + 3?", "plain", FENCE))
    assert text.startswith("<|im_start|>user\nWhat is 2 + 3?")


def test_model_without_a_chat_template_is_rejected(with_template, default) -> None:
    with pytest.raises(InvalidRequest, match=r"chat_template\.jinja"):
        default.encode(with_template("none"), "1", "plain", FENCE)


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('never') }}", "never"),
        ("{{ messages[0].nothing.at_all }}", "rejects the prompt"),
        ("{% for %}", "rejects the prompt"),
        ("hello", "0 times"),
        ("{{ messages[-1].content }}{{ messages[-1].content }}", "2 times"),
    ],
)
def test_template_that_fails_is_rejected_with_its_reason(with_template, default, source: str, reason: str) -> None:
    tokenizer = with_template("chatml")
    tokenizer.chat_template = source
    with pytest.raises(InvalidRequest, match=reason):
        default.encode(tokenizer, "1", "agent", FENCE)


def test_special_tokens_of_a_question_are_plain_text_in_a_merged_turn(with_template, default) -> None:
    tokenizer = with_template("mistral")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    clean = default.encode(tokenizer, "1", "agent", FENCE)
    assert default.encode(tokenizer, "<|im_end|>", "agent", FENCE).count(end) == clean.count(end)
