"""The training corpus of the embedded model."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from deepmath_generator.prompt_template import PromptTemplate

from deepmath.data.synthetic import FAMILIES, ProblemFamily
from deepmath.dialects import DIALECTS
from deepmath.dialects.dialect_parser import CallParser
from deepmath.grading.answer_extraction import extract_boxed

COUNT = 320


every_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


@pytest.fixture(scope="module")
def mistakes(build_module: Callable[[str], ModuleType]) -> Any:
    return build_module("mistaken_code").MISTAKES


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
    kinds = {(trace.mode, trace.kind) for trace in traces}
    assert kinds == {("agent", "computed"), ("agent", "by hand"), ("plain", "by hand")}


def test_turn_ends_with_what_its_last_step_gave(traces: list[Any]) -> None:
    for trace in traces:
        *steps, conclusion = trace.segments
        answer = extract_boxed(conclusion.text)
        last = steps[-1].text if steps else conclusion.text.split("\n")[0]
        assert answer in last


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


def test_weights_cover_exactly_the_model_tokens(encoded: Iterator[tuple[Any, Any]], tokenizer: Any) -> None:
    for trace, example in encoded:
        counted = [token for token, weight in zip(example.ids, example.weights, strict=True) if weight]
        assert tokenizer.decode(counted) == "".join(segment.text for segment in trace.segments if segment.by_model)


@every_family
def test_mistaken_program_seldom_computes_the_answer(family: ProblemFamily, corpus: ModuleType, mistakes: Any) -> None:
    random, right, drawn = Random(family.name), 0, 0
    for draw in family.draws:
        for _ in range(30):
            parameters = draw(random)
            snippets = tuple(snippet.format(**parameters) for snippet in mistakes[family.name].snippets)
            right += corpus.run(snippets)[-1] == family.answer_text(parameters)
            drawn += 1
    assert right < 0.1 * drawn


@every_family
def test_corpus_shows_the_right_program_and_the_mistaken_one_in_their_shares(
    family: ProblemFamily, corpus: ModuleType, mistakes: Any
) -> None:
    random, mistaken = Random(family.name), 0
    parameters = family.draws[-1](random)
    calls = [DIALECTS["tool-call"].write_call(one.format(**parameters)) for one in mistakes[family.name].snippets]
    for _ in range(400):
        turn = corpus.tool_turn(corpus.ProblemInstance(family, parameters, 0, 3), random)
        mistaken += [segment.text for segment in turn[:-1:2]] == calls
    assert abs(mistaken / 400 - mistakes[family.name].share) < 0.1


def test_no_trace_is_longer_than_the_context(model_directory: Path) -> None:
    training = json.loads((model_directory / "scores.json").read_text())["training"]
    assert training["longest"] <= training["context"]
