"""The dialect of each model family, by the chat templates that their models have."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.chat_templates import chat_template, render

from deepmath.dialects import choose_dialect
from deepmath.dialects.dialect import Message
from deepmath.errors import InvalidRequest

QWEN = frozenset({"<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"})
LLAMA = frozenset({"<|python_tag|>", "<|eom_id|>", "<|eot_id|>"})
OTHER = frozenset({"<s>", "</s>"})

FAMILIES = [
    # name of the model, its template, its added tokens, its dialect
    ("Intel/deepmath-v1", "qwen3", QWEN, "tool-call"),
    ("nvidia/OpenMath-Nemotron-14B", "qwen2_5", QWEN, "tool-call"),
    ("nvidia/OpenMath2-Llama3.1-8B", "llama3_1", LLAMA, "python-fence"),  # no token <tool_call>
    ("Qwen/Qwen2.5-Coder-0.5B-Instruct", "qwen2_5", QWEN, "python-fence"),
    ("Qwen/Qwen2.5-Math-7B-Instruct", "qwen2_5_math", QWEN, "python-fence"),
    ("a-fine-tuned-model", "qwen2_5_math", QWEN, "python-fence"),
    ("deepseek-ai/deepseek-math-7b-rl", "chatml", OTHER, "python-fence"),
    ("AI-MO/NuminaMath-7B-TIR", "chatml", OTHER, "python-fence"),
    ("llm-agents/tora-code-13b-v1.0", "chatml", OTHER, "python-fence"),
    ("codellama/CodeLlama-7b-Instruct-hf", "mistral", OTHER, "python-fence"),
    ("mistralai/Mathstral-7B-v0.1", "mistral", OTHER, "python-fence"),
    ("Qwen/Qwen2.5-7B-Instruct", "qwen2_5", QWEN, "hermes"),
    ("Qwen/Qwen3-4B", "qwen3", QWEN, "hermes"),
    ("Qwen/Qwen3-4B-Thinking-2507", "qwen3", QWEN, "hermes"),
    ("Qwen/Qwen3-4B-Instruct-2507", "qwen3_instruct_2507", QWEN, "hermes"),
    ("Qwen/Qwen3-Coder-30B-A3B-Instruct", "qwen3_coder", QWEN, "python-fence"),
    ("a-fine-tuned-model", "qwen3_coder", QWEN, "python-fence"),
    ("Qwen/Qwen3.5-4B", "qwen3_5_think", QWEN, "python-fence"),
    ("NousResearch/Hermes-2-Pro-Mistral-7B", "hermes_2_pro", QWEN, "hermes"),
    ("NousResearch/Hermes-3-Llama-3.1-8B", "chatml", QWEN | LLAMA, "python-fence"),
    ("meta-llama/Llama-3.1-8B-Instruct", "llama3_1", LLAMA, "python-tag"),
    ("meta-llama/Llama-3.2-1B-Instruct", "llama3_2", LLAMA, "python-tag"),
    ("meta-llama/Llama-3.3-70B-Instruct", "llama3_1", LLAMA, "python-tag"),
    ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3", frozenset({"<|eot_id|>"}), "python-fence"),
    ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "deepseek_r1_distill", QWEN, "python-fence"),
    ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "deepseek_r1_distill", LLAMA, "python-fence"),
    ("mistralai/Mistral-7B-Instruct-v0.1", "mistral", OTHER, "python-fence"),
    ("google/gemma-2-2b-it", "gemma", OTHER, "python-fence"),
    ("google/gemma-3-4b-it", "gemma3", OTHER, "python-fence"),
    ("openai/gpt-oss-20b", "gptoss", frozenset({"<|call|>"}), "python-fence"),
    ("microsoft/Phi-3-mini-4k-instruct", "phi3", OTHER, "python-fence"),
    ("zai-org/GLM-4.5", "glm4moe", frozenset({"<tool_call>"}), "python-fence"),
    ("EleutherAI/pythia-70m", "none", frozenset(), "python-fence"),
]


@pytest.mark.parametrize(
    ("model", "template", "tokens", "dialect"),
    FAMILIES,
    ids=[f"{model}-{template}" for model, template, *_ in FAMILIES],
)
def test_family_has_its_dialect(model: str, template: str, tokens: frozenset[str], dialect: str) -> None:
    source = chat_template(template)
    choice = choose_dialect(model, tokens, source, partial(render, source))
    assert choice.dialect.name == dialect, choice.reason
    assert choice.reason


@pytest.mark.parametrize("dialect", ["hermes", "python-tag"])
def test_chosen_dialect_fits_the_template(dialect: str) -> None:
    for model, template, tokens, name in FAMILIES:
        if name == dialect:
            source = chat_template(template)
            chosen = choose_dialect(model, tokens, source, partial(render, source)).dialect
            bound = chosen.bind(lambda messages: render(source, messages, chosen.tools))  # noqa: B023
            assert "7" in "".join(piece.text for piece in bound.output("7", ""))


@pytest.mark.parametrize(
    "model", ["decoder-only", "oratora-7b", "tutorial", "storage", "someone-math/chat", "coder/chat"]
)
def test_words_that_only_contain_a_name_and_organisations_do_not_count(model: str) -> None:
    source = chat_template("hermes_2_pro")
    assert choose_dialect(model, QWEN, source, partial(render, source)).dialect.name == "hermes"


def _raising(*_: Any) -> str:
    raise RuntimeError("no")


@settings(max_examples=60, deadline=None)
@given(model=st.text(max_size=40), tokens=st.frozensets(st.sampled_from(sorted(QWEN | LLAMA))), source=st.text())
def test_model_of_which_nothing_is_known_has_a_dialect(model: str, tokens: frozenset[str], source: str) -> None:
    assert choose_dialect(model, tokens, source, _raising).dialect.name in ("python-fence", "tool-call")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["<tool_call>", "</tool_call>", "{", '"name"', "python", "\u2063output\u2063", "\n", "]"]))
)
def test_what_a_template_writes_around_calls_is_only_read(pieces: list[str]) -> None:
    def written(messages: Sequence[Message], tools: object) -> str:
        return "".join(pieces)

    assert choose_dialect("any", QWEN | LLAMA, "", written).dialect.name == "python-fence"


def test_dialect_that_the_template_does_not_fit_is_rejected() -> None:
    from deepmath.dialects import DIALECTS

    source = chat_template("mistral")
    with pytest.raises(InvalidRequest, match="--dialect"):
        DIALECTS["hermes"].bind(lambda messages: render(source, messages, None))
