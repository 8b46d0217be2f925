"""MathAgent: steps, memory, ends of a run, interruption, and rejected arguments."""

import io
import threading
import time
from typing import Any

import pytest
from deepmath_generator.inference_engine import FinishReason, SampledTokens
from rich.console import Console
from smolagents import CodeAgent, ToolCallingAgent
from smolagents.agents import ActionOutput, RunResult
from smolagents.memory import ActionStep, FinalAnswerStep, TaskStep, ToolCall
from smolagents.models import ChatMessageStreamDelta
from smolagents.monitoring import AgentLogger, LogLevel
from smolagents.utils import AgentError, AgentExecutionError, AgentGenerationError, AgentMaxStepsError
from support.scripted_engine import ANSWER, CALL, CODE, ScriptedEngine

from deepmath.errors import InvalidRequest, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.integrations.smolagents import DeepMathModel, MathAgent

from .conftest import in_thread
from .scripted_generator import serve_scripted

TASK = "What is 6 * 7?"


@pytest.fixture
def shown() -> io.StringIO:
    """The output of an agent."""
    return io.StringIO()


@pytest.fixture
def agent(model: DeepMathModel, shown: io.StringIO) -> MathAgent:
    return MathAgent(model, logger=AgentLogger(LogLevel.DEBUG, Console(file=shown, width=200)))


def engine_with(*texts: str) -> type[ScriptedEngine]:
    """Return an engine that generates these texts, one per step, and then hangs."""

    class Engine(ScriptedEngine):
        async def generate(self, prompt_ids, sampling, *, on_tokens=None, **options) -> SampledTokens:
            step = self.tokenizer.decode(prompt_ids).count("```output")
            if step == len(texts):
                on_tokens(self.tokenizer.encode("thinking", add_special_tokens=False))
                await self.died.wait()
            text = texts[step]
            ids = self.tokenizer.encode(text, add_special_tokens=False)
            on_tokens(ids)
            finish = FinishReason.TOOL_CALL if text.endswith("</tool_call>") else FinishReason.END_OF_TURN
            return SampledTokens(ids, [-0.5] * len(ids), finish, 0)

    return Engine


def test_run_returns_the_answer_and_records_its_steps(agent, scripted_generator) -> None:
    result = agent.run(TASK, return_full_result=True)
    assert isinstance(result, RunResult)
    assert (result.output, result.state) == ("42", "success")
    task, call, answer = agent.memory.steps
    assert isinstance(task, TaskStep)
    assert task.task == TASK
    assert (call.step_number, call.model_output, call.code_action, call.observations) == (1, CALL, CODE, "42")
    assert (call.action_output, call.is_final_answer, call.error) == ("42", False, None)
    assert [(one.name, one.arguments) for one in call.tool_calls] == [("python_interpreter", CODE)]
    assert (answer.step_number, answer.model_output) == (2, ANSWER.removesuffix("<|im_end|>"))
    assert (answer.action_output, answer.is_final_answer, answer.tool_calls) == ("42", True, None)


def test_rpcs_of_runs_and_chats_end_with_status_ok(agent, model, scripted_generator) -> None:
    agent.run(TASK)
    scripted_generator.engine.replies = ["ok"]
    model.generate([{"role": "user", "content": TASK}])
    deadline = time.monotonic() + 10
    while not (scripted_generator.calls("Solve", "ok") and scripted_generator.calls("Chat", "ok")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert scripted_generator.calls("Solve", "cancelled") == scripted_generator.calls("Chat", "cancelled") == 0


def test_token_usage_and_timing_are_recorded_per_step(agent, scripted_generator) -> None:
    result = agent.run(TASK, return_full_result=True)
    call, answer = agent.memory.steps[1:]
    tokenizer = scripted_generator.engine.tokenizer
    lengths = [len(tokenizer.encode(text, add_special_tokens=False)) for text in (CALL, ANSWER)]
    prompts = [len(tokenizer.encode(text, add_special_tokens=False)) for text in scripted_generator.engine.prompts]
    assert [step.token_usage.output_tokens for step in (call, answer)] == lengths
    assert [step.token_usage.input_tokens for step in (call, answer)] == prompts
    assert (result.token_usage.input_tokens, result.token_usage.output_tokens) == (sum(prompts), sum(lengths))
    assert agent.monitor.get_total_token_counts() == result.token_usage
    assert len(agent.monitor.step_durations) == 2
    assert result.timing.duration >= call.timing.duration + answer.timing.duration > 0


def test_stream_yields_steps_and_then_the_answer(agent) -> None:
    events = list(agent.run(TASK, stream=True))
    kinds = [ToolCall, ActionOutput, ActionStep, ActionOutput, ActionStep, FinalAnswerStep]
    assert [type(event) for event in events] == kinds
    assert events[-1].output == "42"


def test_stream_of_outputs_has_the_text_of_the_model(model) -> None:
    events = list(MathAgent(model, stream_outputs=True).run(TASK, stream=True))
    texts = [event.content for event in events if isinstance(event, ChatMessageStreamDelta)]
    assert "".join(texts) == CALL + ANSWER


def test_callbacks_see_each_step_with_its_usage(model) -> None:
    seen = []
    callbacks = {
        ActionStep: lambda step, agent: seen.append((agent.step_number, step.token_usage.output_tokens > 0)),
        FinalAnswerStep: lambda step: seen.append(step.output),
    }
    MathAgent(model, step_callbacks=callbacks).run(TASK)
    assert seen == [(1, True), (2, True), "42"]


def test_replay_and_visualize_show_the_run(agent, shown) -> None:
    agent.run(TASK)
    shown.truncate(shown.seek(0))
    agent.replay(detailed=True)
    agent.visualize()
    for text in (TASK, "Step 1", CODE, "Step 2", "MathAgent | scripted"):
        assert text in shown.getvalue()


def test_run_is_logged(agent, shown) -> None:
    agent.run(TASK)
    for text in (TASK, "DeepMathModel - scripted", CODE, "Out: 42", "Final answer: 42", "Output tokens"):
        assert text in shown.getvalue()


def test_memory_returns_steps_as_dicts_and_code(agent) -> None:
    result = agent.run(TASK, return_full_result=True)
    assert [step.get("step_number") for step in result.steps] == [None, 1, 2]
    assert result.steps[1]["model_input_messages"][0]["content"][0]["text"] == f"New task:\n{TASK}"
    assert agent.memory.return_full_code() == CODE
    assert result.dict()["token_usage"]["total_tokens"] == result.token_usage.total_tokens


def test_second_run_with_reset_false_keeps_memory_and_sends_the_question_alone(agent, scripted_generator) -> None:
    agent.run(TASK)
    once = agent.monitor.total_output_token_count
    agent.run("What is 7 * 6?", reset=False)
    assert [type(step) for step in agent.memory.steps] == [TaskStep, ActionStep, ActionStep] * 2
    assert agent.monitor.total_output_token_count == 2 * once
    assert scripted_generator.engine.prompts[2] == scripted_generator.engine.prompts[0].replace("6 * 7", "7 * 6")


def test_additional_args_are_lines_of_the_question(agent, scripted_generator) -> None:
    agent.run("What is x * y?", additional_args={"x": 6, "y": "seven"})
    assert "What is x * y?\nx = 6\ny = 'seven'<|im_end|>" in scripted_generator.engine.prompts[0]


def test_code_agent_calls_a_managed_maths_agent(model, scripted_generator) -> None:
    maths = MathAgent(model, name="maths", description="Solves maths problems.", provide_run_summary=True)
    scripted_generator.engine.replies = [
        f'<code>\nprint(maths(task="{TASK}"))\n</code>',
        "<code>\nfinal_answer('done')\n</code>",
    ]
    manager = CodeAgent([], model, managed_agents=[maths])
    assert manager.run("Have it solved.") == "done"
    observations = manager.memory.steps[1].observations
    assert "Here is the final answer from your managed agent 'maths':\n42" in observations
    assert "<summary_of_work>" in observations
    assert CODE in observations
    manager.visualize()
    assert manager.to_dict()["managed_agents"][0]["class"] == "MathAgent"


def test_tool_calling_agent_calls_a_managed_maths_agent(model, scripted_generator) -> None:
    maths = MathAgent(model, name="maths", description="Solves maths problems.")
    scripted_generator.engine.replies = [
        '{"name": "maths", "arguments": {"task": "What is 6 * x?", "additional_args": {"x": 7}}}',
        '{"name": "final_answer", "arguments": {"answer": "42"}}',
    ]
    manager = ToolCallingAgent([], model, managed_agents=[maths])
    assert manager.run("Have it solved.") == "42"
    assert manager.memory.steps[1].observations.endswith("managed agent 'maths':\n42")


def test_failing_snippet_is_an_error_of_its_step_and_the_run_continues(executor_address) -> None:
    engine = engine_with("<tool_call>\n1 / 0\n</tool_call>", ANSWER)
    with serve_scripted(executor_address, engine) as generator, DeepMathModel(generator.address) as model:
        agent = MathAgent(model)
        assert agent.run(TASK) == "42"
    step = agent.memory.steps[1]
    assert isinstance(step.error, AgentExecutionError)
    assert step.observations == str(step.error) == "ZeroDivisionError: division by zero"


@pytest.mark.parametrize(
    ("texts", "options", "reason"),
    [
        (["I do not know.<|im_end|>"], {}, "ended its turn without an answer"),
        ([CALL, CALL, CALL], {"max_steps": 2}, "step budget"),
        ([CALL], {"budget": pb.Budget(max_tokens=len(CALL) // 8)}, "token budget"),
        (["<tool_call>\nwhile True: pass\n</tool_call>"], {"budget": pb.Budget(wall_ms=300)}, "time budget"),
    ],
)
def test_run_without_an_answer_returns_none_with_the_reason(executor_address, texts, options, reason) -> None:
    with serve_scripted(executor_address, engine_with(*texts)) as generator, DeepMathModel(generator.address) as model:
        agent = MathAgent(model, name="maths", **options)
        result = agent.run(TASK, return_full_result=True)
        assert (result.output, result.state) == (None, "max_steps_error")
        last = agent.memory.steps[-1]
        assert isinstance(last.error, AgentMaxStepsError)
        assert reason in str(last.error)
        assert result.token_usage == agent.monitor.get_total_token_counts()


def test_manager_gets_a_report_without_an_answer(executor_address) -> None:
    with (
        serve_scripted(executor_address, engine_with("No.<|im_end|>")) as generator,
        DeepMathModel(generator.address) as model,
    ):
        assert MathAgent(model, name="maths")(TASK) == "'maths' found no answer."


def test_max_steps_of_a_run_overrides_the_agents(executor_address) -> None:
    with (
        serve_scripted(executor_address, engine_with(CALL, ANSWER)) as generator,
        DeepMathModel(generator.address) as model,
    ):
        agent = MathAgent(model, max_steps=2)
        assert agent.run(TASK, max_steps=1) is None
        assert agent.run(TASK) == "42"


def test_interrupt_stops_a_waiting_run(executor_address) -> None:
    with serve_scripted(executor_address, engine_with(CALL)) as generator, DeepMathModel(generator.address) as model:
        agent = MathAgent(model, step_callbacks=[lambda step: timer.start() if step.step_number == 1 else None])
        timer: threading.Timer = threading.Timer(0.5, agent.interrupt)
        with pytest.raises(AgentError, match="interrupted"):
            agent.run(TASK)
        assert [step.observations for step in agent.memory.steps[1:]] == ["42", None]
        assert_no_trajectory_left(generator)


def test_interrupt_before_the_first_event_stops_the_run(model) -> None:
    agent = MathAgent(model)
    events = agent.run(TASK, stream=True)
    agent.interrupt()
    with pytest.raises(AgentError, match="interrupted"):
        list(events)


def test_interrupt_by_a_callback_stops_the_run(model) -> None:
    agent = MathAgent(model, step_callbacks=[lambda step, agent: agent.interrupt()])
    with pytest.raises(AgentError, match="interrupted"):
        agent.run(TASK)


def test_closing_the_stream_cancels_the_trajectory(executor_address) -> None:
    with serve_scripted(executor_address, engine_with(CALL)) as generator, DeepMathModel(generator.address) as model:
        events = MathAgent(model).run(TASK, stream=True)
        assert isinstance(next(events), ToolCall)
        events.close()
        assert_no_trajectory_left(generator)


def assert_no_trajectory_left(generator) -> None:
    deadline = time.monotonic() + 10
    while generator.live:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_lost_generator_is_an_error_and_the_finished_steps_are_kept(executor_address) -> None:
    with serve_scripted(executor_address, engine_with(CALL)) as generator, DeepMathModel(generator.address) as model:
        dies = threading.Timer(0.2, generator.kill)
        agent = MathAgent(model, step_callbacks=[lambda step: dies.start() if step.step_number == 1 else None])
        with pytest.raises(AgentGenerationError, match="cannot be reached or is shutting down") as failed:
            agent.run(TASK)
        assert isinstance(failed.value.__cause__, Unavailable)
        assert [step.observations for step in agent.memory.steps[1:]] == ["42", None]
        assert agent.memory.steps[-1].error is failed.value


def test_unreachable_executors_are_an_error_of_the_run(tmp_path) -> None:
    with (
        serve_scripted(f"unix:{tmp_path}/nobody") as generator,
        DeepMathModel(generator.address) as model,
        pytest.raises(AgentGenerationError, match="executor"),
    ):
        MathAgent(model).run(TASK)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": " "}, "pass the problem as text"),
        ({"task": 42}, "task is 42"),
        ({"task": TASK, "images": ["a.png"]}, "the model reads text only; leave out images"),
        ({"task": TASK, "additional_args": {"table": object()}}, r"additional_args\['table'\] is a object"),
    ],
)
def test_invalid_argument_of_run_is_rejected_by_name(agent, arguments, message) -> None:
    with pytest.raises(InvalidRequest, match=message):
        agent.run(**arguments)


def test_too_long_question_is_an_error_with_both_lengths(executor_address) -> None:
    with (
        serve_scripted(executor_address, ScriptedEngine) as generator,
        DeepMathModel(generator.address) as model,
        pytest.raises(AgentGenerationError, match=r"prompt of .* tokens, and the model's context of 4096"),
    ):
        MathAgent(model).run("12 " * 10_000)


@pytest.mark.parametrize("option", ["tools", "planning_interval", "managed_agents", "final_answer_checks", "what"])
def test_unsupported_option_is_rejected_by_name(model, option) -> None:
    unsupported: dict[str, Any] = {option: []}
    with pytest.raises(InvalidRequest, match=f"MathAgent does not support {option}"):
        MathAgent(model, **unsupported)


def test_model_of_another_class_is_rejected() -> None:
    with pytest.raises(InvalidRequest, match="its model is a DeepMathModel, not 'gpt-5'"):
        MathAgent("gpt-5")  # type: ignore[arg-type]  # the error under test


def test_maths_agent_cannot_be_saved(agent, tmp_path) -> None:
    for call in (lambda: agent.save(tmp_path), lambda: agent.push_to_hub("me/it"), lambda: MathAgent.from_dict({})):
        with pytest.raises(NotImplementedError, match="a MathAgent"):
            call()


@in_thread
def test_embedded_model_solves_a_problem(embedded_model) -> None:
    agent = MathAgent(embedded_model)
    result = agent.run("What is the greatest common divisor of 84 and 126?", return_full_result=True)
    assert (result.output, result.state) == ("42", "success")
    assert "gcd" in agent.memory.steps[1].code_action
    assert result.token_usage.output_tokens > 20
