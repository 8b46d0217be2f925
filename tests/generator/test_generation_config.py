"""The model's generation config: sampling defaults, what is not applied, and the tokens that end a turn."""

import copy
import logging
from types import SimpleNamespace

import pytest
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.generation_config import end_of_turn_token, recommended_sampling
from deepmath_generator.inference_engine import FinishReason
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.service import GeneratorServicer
from support.chat_templates import chat_template
from support.scripted_engine import ScriptedEngine

from deepmath.generator.v1 import generator_pb2 as pb


@pytest.mark.parametrize(
    ("options", "file", "expected"),
    [
        ({}, {}, (0.6, 0.95, 20)),
        ({}, {"temperature": 0.7, "top_p": 0.8, "top_k": 40}, (0.7, 0.8, 40)),  # Qwen2.5 but for top_k
        ({}, {"temperature": 1.0, "top_p": 1.0}, (1.0, 1.0, 20)),
        ({}, {"temperature": 0, "top_k": 0}, (0.0, 0.95, 0)),
        ({}, {"top_k": -1}, (0.6, 0.95, 0)),
        ({"temperature": 0.3}, {"temperature": 0.7, "top_p": 0.8}, (0.3, 0.8, 20)),
        ({"temperature": 0.0, "top_p": 1.0, "top_k": 0}, {"temperature": 0.7, "top_p": 0.8}, (0.0, 1.0, 0)),
    ],
)
def test_option_precedes_the_model_and_the_model_precedes_the_default(options, file, expected) -> None:
    sampling = SamplingOptions.default(GeneratorConfig(model="m", **options), recommended_sampling(file))
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == expected
    asked = sampling.override(pb.Sampling(temperature=1.5, top_p=0.5, top_k=3))
    assert (asked.temperature, asked.top_p, asked.top_k) == (1.5, 0.5, 3)


@pytest.mark.parametrize(
    "file",
    [
        {"temperature": 5},
        {"temperature": -0.1},
        {"temperature": float("nan")},
        {"temperature": "0.5" * 1000},
        {"temperature": True},
        {"temperature": [1]},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": 2.5},
        {"top_k": float("inf")},
        {"top_k": 1 << 40},
    ],
)
def test_value_out_of_range_is_reported_and_not_applied(file, caplog) -> None:
    assert recommended_sampling(file) == {}
    assert next(iter(file)) in caplog.text
    assert len(caplog.text) < 500


def test_parameters_that_are_not_applied_are_reported_once(caplog) -> None:
    file = {"repetition_penalty": 1.05, "min_p": 0.05, "typical_p": 1.0, "no_repeat_ngram_size": 0, "temperature": 0.7}
    assert recommended_sampling(file) == {"temperature": 0.7}
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "repetition_penalty 1.05, min_p 0.05" in record.getMessage()
    assert "typical_p" not in record.getMessage()


async def test_generator_reports_the_models_sampling_and_its_dialect(config: GeneratorConfig) -> None:
    engine = ScriptedEngine()
    engine.generation_config = {"temperature": 0.7, "top_k": 40, "repetition_penalty": 1.1}
    options = config.model_copy(update={"temperature": None, "top_p": 0.5, "top_k": None})
    servicer = GeneratorServicer(options, engine, None, PromptTemplate.load(config.model))
    try:
        info = await servicer.GetInfo(pb.GetInfoRequest(), None)
    finally:
        servicer.close()
    assert info.dialect == "tool-call"
    defaults = info.default_sampling
    assert (round(defaults.temperature, 6), defaults.top_p, defaults.top_k) == (0.7, 0.5, 40)


@pytest.mark.parametrize("name", ["qwen2_5", "qwen3", "chatml", "qwen3_5_think"])
def test_token_that_ends_the_assistants_turn_is_known_from_the_template(tokenizer, name: str) -> None:
    other = copy.deepcopy(tokenizer)
    other.chat_template = chat_template(name)
    assert end_of_turn_token(other) == tokenizer.convert_tokens_to_ids("<|im_end|>")


@pytest.mark.parametrize(
    "source", ["", "{{ raise_exception('no') }}", "{% for m in messages %}{{ m.content }}{% endfor %}"]
)
def test_template_without_an_end_of_turn_has_none(tokenizer, source: str) -> None:
    other = copy.deepcopy(tokenizer)
    other.chat_template = source
    assert end_of_turn_token(other) is None


@pytest.mark.parametrize("eos", [2, [2], [2, 7], [7, 2, 9]])
def test_every_end_of_sequence_token_ends_the_turn_and_the_call_token_ends_the_call(eos) -> None:
    from deepmath_generator.vllm_engine import _finish_reason, _sampling_params

    params = _sampling_params(SamplingOptions(1.0, 1.0, 0), 8, seed=0, is_streamed=False, stop_ids=[5, 3])
    params.update_from_generation_config({"eos_token_id": eos}, 2)  # as vLLM does for every request
    others = {eos} if isinstance(eos, int) else set(eos)
    assert set(params.stop_token_ids) == {5, 3} | others - {2}
    for token in (others | {3}) - {2}:
        assert _finish_reason(_ended(token), 5) is FinishReason.END_OF_TURN
    assert _finish_reason(_ended(None), 5) is FinishReason.END_OF_TURN
    assert _finish_reason(_ended(None), None) is FinishReason.END_OF_TURN
    assert _finish_reason(_ended(5), 5) is FinishReason.TOOL_CALL


def _ended(reason: int | None) -> SimpleNamespace:
    return SimpleNamespace(finish_reason="stop", stop_reason=reason)
