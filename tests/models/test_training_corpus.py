"""The training corpus of the embedded model."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from deepmath_generator.prompt_template import PromptTemplate

from deepmath.data.synthetic import generate
from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect_parser import CallParser
from deepmath.grading.answer_extraction import extract_boxed

COUNT = 320


@pytest.fixture(scope="module")
def traces(corpus: ModuleType) -> list[Any]:
    return list(corpus.traces(COUNT, 1, corpus.CorpusMixture()))


@pytest.fixture(scope="module")
def encoded(corpus: ModuleType, traces: list[Any], tokenizer: Any, model_directory: Path) -> Iterator[tuple[Any, Any]]:
    prompt = PromptTemplate.load(str(model_directory))
    return zip(traces, [corpus.encode(trace, tokenizer, prompt) for trace in traces], strict=True)


def test_same_seed_gives_the_same_traces(corpus: ModuleType, traces: list[Any]) -> None:
    assert list(corpus.traces(COUNT, 1, corpus.CorpusMixture())) == traces


def test_agent_mode_has_turns_with_and_without_tools_and_plain_mode_has_none_with_tools(traces: list[Any]) -> None:
    kinds = {(trace.mode, len(trace.segments) > 1) for trace in traces}
    assert kinds == {("agent", True), ("agent", False), ("plain", False)}


def test_every_turn_ends_with_the_correct_answer(traces: list[Any]) -> None:
    answers = {problem.problem: problem.answer for problem in generate(COUNT, "train", seed=1)}
    for trace in traces:
        assert extract_boxed(trace.segments[-1].text) == answers[trace.question]


def test_segments_before_the_last_alternate_between_tool_calls_and_outputs(traces: list[Any]) -> None:
    for trace in traces:
        *calls_and_outputs, conclusion = trace.segments
        assert conclusion.by_model
        for call, output in zip(calls_and_outputs[::2], calls_and_outputs[1::2], strict=True):
            assert call.by_model
            (end,) = CallParser(DIALECTS["tool-call"].marks).ends(call.text)
            assert end.offset == len(call.text)
            assert end.text
            assert not output.by_model


def test_labels_cover_exactly_the_model_tokens(
    corpus: ModuleType, encoded: Iterator[tuple[Any, Any]], tokenizer: Any
) -> None:
    for trace, example in encoded:
        labelled = [label for label in example.labels if label != corpus.IGNORED]
        assert len(example.labels) == len(example.ids)
        assert all(label in (token, corpus.IGNORED) for label, token in zip(example.labels, example.ids, strict=True))
        assert tokenizer.decode(labelled) == "".join(segment.text for segment in trace.segments if segment.by_model)


def test_no_trace_is_longer_than_the_context(model_directory: Path) -> None:
    training = json.loads((model_directory / "scores.json").read_text())["training"]
    assert training["longest"] <= training["context"]
