"""The generator as a model of smolagents: what reaches it, what comes back, and what is refused."""

import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from smolagents import CodeAgent, ToolCallingAgent, tool
from smolagents.agents import EMPTY_PROMPT_TEMPLATES, AgentGenerationError
from smolagents.models import ChatMessage, MessageRole
from support.secured import Authority, add_token

from deepmath.errors import DeepMathError, Forbidden, InvalidRequest, Overloaded, Unavailable, WrongOrder
from deepmath.integrations.smolagents import DeepMathModel

from .scripted_generator import HANGS, saying

QUESTION = "What is the greatest common divisor of 84 and 126?"
ASKED = [
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


def test_answer_comes_with_its_usage_and_why_it_ended(real) -> None:
    answer = real.generate(ASKED)
    assert answer.role == MessageRole.ASSISTANT
    assert answer.content.startswith("<tool_call>\n")
    assert answer.raw == {"finish_reason": "end_of_turn"}
    assert answer.token_usage.input_tokens > 20
    assert answer.token_usage.output_tokens > 20
    assert (real.model_id, real.supports_stop_parameter) == ("tiny-math", True)


def test_deltas_joined_are_the_answer_and_the_last_has_the_usage(real) -> None:
    whole = real.generate(ASKED)
    deltas = list(real.generate_stream(ASKED))
    assert len(deltas) > 5
    assert "".join(delta.content for delta in deltas) == whole.content
    assert [delta.token_usage for delta in deltas] == [None] * (len(deltas) - 1) + [whole.token_usage]


def test_answer_ends_before_a_stop_sequence_and_at_max_tokens(real) -> None:
    answer = real.generate(ASKED, stop_sequences=["Observation:", "</tool_call>"])
    assert answer.raw == {"finish_reason": "stop_sequence"}
    assert "84" in answer.content
    assert "</tool_call>" not in answer.content
    short = real.generate(ASKED, max_tokens=4)
    assert (short.raw, short.token_usage.output_tokens) == ({"finish_reason": "length"}, 4)


def test_threads_share_a_model(real) -> None:
    with ThreadPoolExecutor(8) as threads:
        answers = [answer.content for answer in threads.map(lambda _: real.generate(ASKED), range(16))]
    assert len(answers) == 16
    assert len(set(answers)) <= 2  # greedy, but for what batching does to the arithmetic


def test_code_agent_runs_code_of_the_embedded_model(real) -> None:
    templates = {**EMPTY_PROMPT_TEMPLATES, "system_prompt": "Use Python."}  # the model knows no other
    agent = CodeAgent(
        [], real, prompt_templates=templates, code_block_tags=("<tool_call>", "</tool_call>"), max_steps=1
    )
    result = agent.run(QUESTION, return_full_result=True)
    step = agent.memory.steps[1]
    assert step.code_action
    assert step.observations or step.error
    assert step.token_usage.output_tokens > 5
    assert result.state == "max_steps_error"
    assert agent.monitor.total_input_token_count >= step.token_usage.input_tokens


def test_code_agent_solves_a_task(generator, model) -> None:
    generator.engine.says = [
        "Thought: step by step.\n<code>\nhalf = 21\nprint(half)\n</code> and more",
        "Thought: now.\n<code>\nfinal_answer(double(half))\n</code>",
    ]
    agent = CodeAgent([double], model)
    result = agent.run("Double 21.", return_full_result=True)
    assert (result.output, result.state) == (42, "success")
    first, second = generator.engine.prompts
    assert first.startswith("<|im_start|>system\nYou are an expert assistant")
    assert "New task:\nDouble 21.<|im_end|>\n<|im_start|>assistant\n" in first
    assert "print(half)" in second
    assert "Observation:\nExecution logs:\n21" in second
    assert result.token_usage.input_tokens == sum(len(tokens(generator, prompt)) for prompt in (first, second))
    assert agent.memory.steps[1].model_output == "Thought: step by step.\n<code>\nhalf = 21\nprint(half)\n</code>"


def tokens(generator, text: str) -> list[int]:
    return generator.engine.tokenizer.encode(text, add_special_tokens=False)


def test_code_agent_streams_what_the_model_writes(generator, model) -> None:
    says = "<code>\nfinal_answer(6 * 7)\n</code>"
    generator.engine.says = [says]
    events = list(CodeAgent([], model, stream_outputs=True).run("6 * 7?", stream=True))
    assert "".join(getattr(event, "content", "") for event in events) == says.removesuffix("</code>")
    assert events[-1].output == 42


def test_tool_calling_agent_calls_tools(generator, model) -> None:
    generator.engine.says = [
        'Action:\n{"name": "double", "arguments": {"number": 21}}\nObservation: made up',
        'Action:\n{"name": "final_answer", "arguments": {"answer": "42"}}',
    ]
    agent = ToolCallingAgent([double], model)
    assert agent.run("Double 21.") == "42"
    assert [call.name for step in agent.memory.steps[1:] for call in step.tool_calls] == ["double", "final_answer"]
    assert "Observation:\n42" in generator.engine.prompts[1]
    assert "made up" not in generator.engine.prompts[1]


def test_parameters_reach_the_sampling_and_those_of_the_model_go_first(generator) -> None:
    generator.engine.says = ["1", "2"]
    with DeepMathModel(generator.address, temperature=0.25, seed=5) as model:
        model.generate(ASKED, top_p=0.5, temperature=1.0)
        assert model.to_dict() == {
            "model_id": "scripted",
            "address": generator.address,
            "temperature": 0.25,
            "seed": 5,
        }
        with DeepMathModel.from_dict(model.to_dict()) as again:
            again.generate(ASKED)
    for sampling in generator.engine.samplings:
        assert (sampling.temperature, sampling.seed) == (0.25, 5)
    assert generator.engine.samplings[0].top_p == 0.5


def test_roles_of_tools_are_of_the_two_speakers_and_rows_of_one_speaker_are_one_message(generator, model) -> None:
    generator.engine.says = ["ok"]
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
    assert generator.engine.prompts == [expected]


@pytest.mark.parametrize(
    ("messages", "options", "said"),
    [
        ([], {}, "messages: 0"),
        ("2 + 2?", {}, "messages has to be a list"),
        (["2 + 2?"], {}, r"messages\[0\] is a str"),
        ([{"role": "poet", "content": "x"}], {}, r"messages\[0\].role is 'poet'; take one of user, assistant"),
        ([{"content": "x"}], {}, r"messages\[0\].role is None"),
        ([{"role": "user", "content": 7}], {}, r"messages\[0\].content is a int"),
        ([{"role": "user", "content": " "}], {}, "messages are all empty"),
        ([*ASKED, {"role": "user", "content": [{"type": "image", "image": 0}]}], {}, r"messages\[2\] .* type image"),
        ([{"role": "user", "content": [{"type": "image_url"}]}], {}, "type image_url; this model reads text only"),
        ([{"role": "user", "content": ["x"]}], {}, "a part of type str"),
        ([{"role": "user", "content": "12 " * 150_000}], {}, "messages have 450000 bytes|prompt of .* tokens"),
        (ASKED, {"frequency_penalty": 1}, "DeepMathModel has no frequency_penalty; it takes temperature"),
        (ASKED, {"response_format": {"type": "json_object"}}, "takes no response_format"),
        (ASKED, {"temperature": "warm"}, "temperature='warm'"),
        (ASKED, {"temperature": 3}, "sampling.temperature is 3; it must be from 0 to 2"),
        (ASKED, {"max_tokens": 0}, "max_tokens is 0"),
        (ASKED, {"stop_sequences": [""]}, r"stop_sequences\[0\]"),
    ],
)
def test_what_cannot_be_asked_is_refused_by_name(model, messages, options, said) -> None:
    with pytest.raises(InvalidRequest, match=said):
        model.generate(messages, **options)


def test_structured_outputs_of_a_code_agent_are_refused(model) -> None:
    with pytest.raises(AgentGenerationError, match="without use_structured_outputs_internally"):
        CodeAgent([], model, use_structured_outputs_internally=True).run("6 * 7?")


def test_default_prompt_of_smolagents_is_too_long_for_the_embedded_model(real) -> None:
    with pytest.raises(AgentGenerationError, match=r"prompt of .* tokens, and the model's context holds 2048"):
        CodeAgent([], real).run("6 * 7?")


def test_generator_that_is_not_there_is_told_of(free_port) -> None:
    with pytest.raises(Unavailable, match=f"the generator at 127.0.0.1:{free_port} cannot be reached"):
        DeepMathModel(f"127.0.0.1:{free_port}")
    with pytest.raises(InvalidRequest, match="'nowhere' is not a valid address"):
        DeepMathModel("nowhere")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_new_tokens": 5}, "DeepMathModel has no max_new_tokens"),
        ({"address": "127.0.0.1:1", "model": "x"}, "for a generator started here"),
        ({"model": "/no/such/model"}, "/no/such/model"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_starts(options, said) -> None:
    before = threading.active_count()
    with pytest.raises(DeepMathError, match=said):
        DeepMathModel(**options)
    assert threading.active_count() == before


def test_generator_that_dies_under_an_answer_is_told_of(generator, model) -> None:
    generator.engine.says = [f"begins{HANGS}"]
    deltas = model.generate_stream(ASKED)
    assert next(deltas).content == "begins"
    generator.die()
    with pytest.raises(Unavailable, match="cannot be reached or is shutting down"):
        list(deltas)
    with pytest.raises(AgentGenerationError, match="cannot be reached or is shutting down"):
        CodeAgent([], model).run("6 * 7?")


def test_full_generator_takes_no_further_answer(executor_address) -> None:
    with (
        saying(executor_address, max_trajectories=1, max_waiting=1) as generator,
        DeepMathModel(generator.address) as model,
    ):
        generator.engine.says = [f"begins{HANGS}"] * 2
        first, second = model.generate_stream(ASKED), model.generate_stream(ASKED)
        next(first)
        with ThreadPoolExecutor(1) as thread:
            waits = thread.submit(next, second)
            while generator.servicer._admission.admitted < 2:
                time.sleep(0.01)
            with pytest.raises(Overloaded, match="2 trajectories are running or waiting"):
                model.generate(ASKED)
            first.close()
            assert waits.result().content == "begins"
        second.close()


def test_model_that_was_cleaned_up_says_so(generator) -> None:
    with DeepMathModel(generator.address) as model:
        pass
    model.cleanup()
    with pytest.raises(WrongOrder, match="closed by a cleanup"):
        model.generate(ASKED)


def test_model_that_nobody_holds_is_cleaned_up(generator) -> None:
    generator.engine.says = ["something"]
    model = DeepMathModel(generator.address)
    assert model.generate(ASKED).content == "something"
    cleanup = model.cleanup
    del model
    gc.collect()
    assert not cleanup.alive


def test_answer_that_a_cleanup_cuts_off_is_none(generator) -> None:
    generator.engine.says = [f"some text{HANGS}"] * 2
    model = DeepMathModel(generator.address)
    deltas = model.generate_stream(ASKED)
    next(deltas)
    threading.Timer(0.5, model.cleanup).start()
    with pytest.raises(WrongOrder, match="cleanup"):
        model.generate(ASKED)
    with pytest.raises(WrongOrder, match="cleanup"):
        next(deltas)


def test_events_of_a_model_that_nobody_else_holds_all_come(generator) -> None:
    with closing(DeepMathModel(generator.address).solve(QUESTION)) as events:
        gc.collect()
        assert [event.WhichOneof("event") for event in events][-1] == "vote"


def test_answer_that_is_left_ends_its_call(generator, model) -> None:
    generator.engine.says = [f"some text{HANGS}", "more text"]
    deltas = model.generate_stream(ASKED)
    next(deltas)
    deltas.close()
    assert model.generate(ASKED).content == "more text"


def test_tls_and_tokens_pass_through(executor_address, tmp_path) -> None:
    authority, known = Authority(tmp_path / "authority"), tmp_path / "tokens.toml"
    good, other = add_token(known, "good", "generate"), add_token(known, "other", "execute")
    person = authority.issue("person")
    with saying(executor_address, tls=authority.issue("generator"), tokens=known) as generator:
        generator.engine.says = ["ok"]
        with DeepMathModel(generator.address, tls=str(person), token_file=good) as model:
            assert model.generate(ASKED).content == "ok"
        with pytest.raises(Forbidden, match="other may not call GetInfo"):
            DeepMathModel(generator.address, tls=person, token_file=other)
        with pytest.raises(Unavailable):
            DeepMathModel(generator.address)
