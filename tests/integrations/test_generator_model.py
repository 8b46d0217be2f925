"""DeepMathModel: messages, parameters, streaming, agents on it, errors and cleanup."""

import gc
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from smolagents import CodeAgent, ToolCallingAgent, tool
from smolagents.agents import EMPTY_PROMPT_TEMPLATES, AgentGenerationError
from smolagents.models import ChatMessage, MessageRole
from support.secured import Authority, add_token

from deepmath.errors import DeepMathError, Forbidden, InvalidRequest, Overloaded, Unavailable, WrongOrder
from deepmath.integrations.smolagents import DeepMathModel

from .conftest import in_thread
from .scripted_generator import HANGS, serve_scripted

QUESTION = "What is the greatest common divisor of 84 and 126?"
MESSAGES = [
    {"role": "system", "content": "Use Python."},
    ChatMessage(role=MessageRole.USER, content=[{"type": "text", "text": QUESTION}]),
]


@tool
def double(number: int) -> int:
    """Doubles a number.

    Args:
        number: The number.
    """
    return 2 * number


@in_thread
def test_answer_has_its_token_usage_and_finish_reason(embedded_model) -> None:
    answer = embedded_model.generate(MESSAGES)
    assert answer.role == MessageRole.ASSISTANT
    assert answer.content.startswith("<tool_call>\n")
    assert answer.raw == {"finish_reason": "end_of_turn"}
    assert answer.token_usage.input_tokens > 20
    assert answer.token_usage.output_tokens > 20
    assert (embedded_model.model_id, embedded_model.supports_stop_parameter) == ("tiny-math", True)


@in_thread
def test_deltas_form_the_answer_and_the_last_has_the_usage(embedded_model) -> None:
    whole = embedded_model.generate(MESSAGES)
    deltas = list(embedded_model.generate_stream(MESSAGES))
    assert len(deltas) > 5
    assert "".join(delta.content for delta in deltas) == whole.content
    assert [delta.token_usage for delta in deltas] == [None] * (len(deltas) - 1) + [whole.token_usage]


@in_thread
def test_answer_stops_before_a_stop_sequence_and_at_max_tokens(embedded_model) -> None:
    answer = embedded_model.generate(MESSAGES, stop_sequences=["Observation:", "</tool_call>"])
    assert answer.raw == {"finish_reason": "stop_sequence"}
    assert "84" in answer.content
    assert "</tool_call>" not in answer.content
    short = embedded_model.generate(MESSAGES, max_tokens=4)
    assert (short.raw, short.token_usage.output_tokens) == ({"finish_reason": "length"}, 4)


@in_thread
def test_threads_share_a_model(embedded_model) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = [answer.content for answer in threads.map(lambda _: embedded_model.generate(MESSAGES), range(16))]
    assert len(answers) == 16
    assert len(set(answers)) <= 2  # greedy, except for rounding that depends on the batch


@in_thread
def test_code_agent_runs_code_of_the_embedded_model(embedded_model) -> None:
    templates = {
        **EMPTY_PROMPT_TEMPLATES,
        "system_prompt": "Use Python.",
    }  # the only one that the model was trained with
    agent = CodeAgent(
        [], embedded_model, prompt_templates=templates, code_block_tags=("<tool_call>", "</tool_call>"), max_steps=1
    )
    result = agent.run(QUESTION, return_full_result=True)
    step = agent.memory.steps[1]
    assert step.code_action
    assert step.observations or step.error
    assert step.token_usage.output_tokens > 5
    assert result.state == "max_steps_error"
    assert agent.monitor.total_input_token_count >= step.token_usage.input_tokens


def test_code_agent_solves_a_task(scripted_generator, model) -> None:
    scripted_generator.engine.replies = [
        "Thought: step by step.\n<code>\nhalf = 21\nprint(half)\n</code> and more",
        "Thought: now.\n<code>\nfinal_answer(double(half))\n</code>",
    ]
    agent = CodeAgent([double], model)
    result = agent.run("Double 21.", return_full_result=True)
    assert (result.output, result.state) == (42, "success")
    first, second = scripted_generator.engine.prompts
    assert first.startswith("<|im_start|>system\nYou are an expert assistant")
    assert "New task:\nDouble 21.<|im_end|>\n<|im_start|>assistant\n" in first
    assert "print(half)" in second
    assert "Observation:\nExecution logs:\n21" in second
    assert result.token_usage.input_tokens == sum(len(tokens(scripted_generator, prompt)) for prompt in (first, second))
    assert agent.memory.steps[1].model_output == "Thought: step by step.\n<code>\nhalf = 21\nprint(half)\n</code>"


def tokens(generator, text: str) -> list[int]:
    return generator.engine.tokenizer.encode(text, add_special_tokens=False)


def test_code_agent_streams_model_output(scripted_generator, model) -> None:
    says = "<code>\nfinal_answer(6 * 7)\n</code>"
    scripted_generator.engine.replies = [says]
    events = list(CodeAgent([], model, stream_outputs=True).run("6 * 7?", stream=True))
    assert "".join(getattr(event, "content", "") for event in events) == says.removesuffix("</code>")
    assert events[-1].output == 42


def test_tool_calling_agent_calls_tools(scripted_generator, model) -> None:
    scripted_generator.engine.replies = [
        'Action:\n{"name": "double", "arguments": {"number": 21}}\nObservation: made up',
        'Action:\n{"name": "final_answer", "arguments": {"answer": "42"}}',
    ]
    agent = ToolCallingAgent([double], model)
    assert agent.run("Double 21.") == "42"
    assert [call.name for step in agent.memory.steps[1:] for call in step.tool_calls] == ["double", "final_answer"]
    assert "Observation:\n42" in scripted_generator.engine.prompts[1]
    assert "made up" not in scripted_generator.engine.prompts[1]


def test_parameters_reach_the_engine_and_the_models_take_precedence(scripted_generator) -> None:
    scripted_generator.engine.replies = ["1", "2"]
    with DeepMathModel(scripted_generator.address, temperature=0.25, seed=5) as model:
        model.generate(MESSAGES, top_p=0.5, temperature=1.0)
        assert model.to_dict() == {
            "model_id": "scripted",
            "address": scripted_generator.address,
            "temperature": 0.25,
            "seed": 5,
        }
        with DeepMathModel.from_dict(model.to_dict()) as again:
            again.generate(MESSAGES)
    for sampling in scripted_generator.engine.samplings:
        assert (sampling.temperature, sampling.seed) == (0.25, 5)
    assert scripted_generator.engine.samplings[0].top_p == 0.5


def test_tool_roles_are_mapped_and_consecutive_messages_of_one_role_are_joined(scripted_generator, model) -> None:
    scripted_generator.engine.replies = ["ok"]
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "user", "content": "c"},
        {"role": "assistant", "content": "d"},
        {"role": "tool-call", "content": "e"},
        {"role": "tool-response", "content": "f"},
    ]
    assert model(messages).content == "ok"
    rows = ("user\na\nb\nc", "assistant\nd\ne", "user\nf")
    expected = "".join(f"<|im_start|>{row}<|im_end|>\n" for row in rows) + "<|im_start|>assistant\n"
    assert scripted_generator.engine.prompts == [expected]


@pytest.mark.parametrize(
    ("messages", "options", "message"),
    [
        ([], {}, "messages: 0"),
        ("2 + 2?", {}, "messages must be a list"),
        (["2 + 2?"], {}, r"messages\[0\] is a str"),
        ([{"role": "poet", "content": "x"}], {}, r"messages\[0\].role is 'poet'; the roles are user, assistant"),
        ([{"content": "x"}], {}, r"messages\[0\].role is None"),
        ([{"role": "user", "content": 7}], {}, r"messages\[0\].content is a int"),
        ([{"role": "user", "content": " "}], {}, "messages are all empty"),
        ([*MESSAGES, {"role": "user", "content": [{"type": "image", "image": 0}]}], {}, r"messages\[2\] .* type image"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], {}, "type image_url; this model reads text only"),
        ([{"role": "user", "content": ["x"]}], {}, "a part of type str"),
        ([{"role": "user", "content": "12 " * 150_000}], {}, "messages have 450000 bytes|prompt of .* tokens"),
        (
            MESSAGES,
            {"frequency_penalty": 1},
            "unknown parameters of DeepMathModel: frequency_penalty; it has temperature",
        ),
        (MESSAGES, {"response_format": {"type": "json_object"}}, "does not support response_format"),
        (MESSAGES, {"temperature": "warm"}, "temperature='warm'"),
        (MESSAGES, {"temperature": 3}, "sampling.temperature is 3; it must be from 0 to 2"),
        (MESSAGES, {"max_tokens": 0}, "max_tokens is 0"),
        (MESSAGES, {"stop_sequences": [""]}, r"stop_sequences\[0\]"),
    ],
)
def test_invalid_request_is_rejected_by_name(model, messages, options, message) -> None:
    with pytest.raises(InvalidRequest, match=message):
        model.generate(messages, **options)


def test_structured_outputs_of_a_code_agent_are_rejected(model) -> None:
    with pytest.raises(AgentGenerationError, match="without use_structured_outputs_internally"):
        CodeAgent([], model, use_structured_outputs_internally=True).run("6 * 7?")


@in_thread
def test_default_prompt_of_smolagents_is_too_long_for_the_embedded_model(embedded_model) -> None:
    with pytest.raises(AgentGenerationError, match=r"prompt of .* tokens, and the model's context of 2048"):
        CodeAgent([], embedded_model).run("6 * 7?")


def test_unreachable_generator_is_an_error_with_its_address(free_port) -> None:
    with pytest.raises(Unavailable, match=f"the generator at 127.0.0.1:{free_port} cannot be reached"):
        DeepMathModel(f"127.0.0.1:{free_port}")
    with pytest.raises(InvalidRequest, match="'nowhere' is not a valid address"):
        DeepMathModel("nowhere")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 5}, "unknown parameters of DeepMathModel: max_new_tokens"),
        ({"address": "127.0.0.1:1", "model": "x"}, "apply to a generator that is started here"),
        ({"model": "/no/such/model"}, "/no/such/model"),
    ],
)
def test_invalid_argument_is_rejected_before_anything_starts(options, message) -> None:
    before = threading.active_count()
    with pytest.raises(DeepMathError, match=message):
        DeepMathModel(**options)
    assert threading.active_count() == before


def test_generator_lost_during_an_answer_is_unavailable(scripted_generator, model) -> None:
    scripted_generator.engine.replies = [f"begins{HANGS}"]
    deltas = model.generate_stream(MESSAGES)
    assert next(deltas).content == "begins"
    scripted_generator.kill()
    with pytest.raises(Unavailable, match="cannot be reached or is shutting down"):
        list(deltas)
    with pytest.raises(AgentGenerationError, match="cannot be reached or is shutting down"):
        CodeAgent([], model).run("6 * 7?")


def test_generator_at_capacity_is_overloaded(executor_address) -> None:
    with (
        serve_scripted(executor_address, max_trajectories=1, max_waiting=1) as generator,
        DeepMathModel(generator.address) as model,
    ):
        generator.engine.replies = [f"begins{HANGS}"] * 2
        first, second = model.generate_stream(MESSAGES), model.generate_stream(MESSAGES)
        next(first)
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(next, second)
            while generator.servicer._admission.admitted < 2:
                time.sleep(0.01)
            try:
                with pytest.raises(Overloaded, match="2 trajectories are running or queued"):
                    model.generate(MESSAGES)
            finally:
                first.close()
            assert waits.result().content == "begins"
        second.close()


def test_closed_model_raises_wrong_order(scripted_generator) -> None:
    with DeepMathModel(scripted_generator.address) as model:
        pass
    model.cleanup()
    with pytest.raises(WrongOrder, match="closed by a cleanup"):
        model.generate(MESSAGES)


def test_garbage_collected_model_is_cleaned_up(scripted_generator) -> None:
    scripted_generator.engine.replies = ["something"]
    model = DeepMathModel(scripted_generator.address)
    assert model.generate(MESSAGES).content == "something"
    cleanup = model.cleanup
    del model
    gc.collect()
    assert isinstance(cleanup, weakref.finalize)
    assert not cleanup.alive


def test_cleanup_during_an_answer_raises_wrong_order(scripted_generator) -> None:
    scripted_generator.engine.replies = [f"some text{HANGS}"] * 2
    model = DeepMathModel(scripted_generator.address)
    deltas = model.generate_stream(MESSAGES)
    next(deltas)
    threading.Timer(0.5, model.cleanup).start()
    with pytest.raises(WrongOrder, match="cleanup"):
        model.generate(MESSAGES)
    with pytest.raises(WrongOrder, match="cleanup"):
        next(deltas)


def test_stream_keeps_its_model_alive(scripted_generator) -> None:
    with closing(DeepMathModel(scripted_generator.address).solve(QUESTION)) as events:
        gc.collect()
        assert [event.WhichOneof("event") for event in events][-1] == "vote"


def test_closing_the_stream_cancels_its_call(scripted_generator, model) -> None:
    scripted_generator.engine.replies = [f"some text{HANGS}", "more text"]
    deltas = model.generate_stream(MESSAGES)
    next(deltas)
    deltas.close()
    assert model.generate(MESSAGES).content == "more text"


def test_tls_and_token_are_used(executor_address, tmp_path) -> None:
    authority, known = Authority(tmp_path / "authority"), tmp_path / "tokens.toml"
    good, other = add_token(known, "good", "generate"), add_token(known, "other", "execute")
    person = authority.issue("person")
    with serve_scripted(executor_address, tls=authority.issue("generator"), tokens=known) as generator:
        generator.engine.replies = ["ok"]
        with DeepMathModel(generator.address, tls=str(person), token_file=good) as model:
            assert model.generate(MESSAGES).content == "ok"
        with pytest.raises(Forbidden, match="other may not call GetInfo"):
            DeepMathModel(generator.address, tls=person, token_file=other)
        with pytest.raises(Unavailable):
            DeepMathModel(generator.address)
