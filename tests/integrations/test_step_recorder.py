"""Recording of a step: the model's output without the tokens that end its turn, and a log that is only text."""

import io

import pytest
from rich.console import Console
from smolagents.memory import ActionStep
from smolagents.monitoring import AgentLogger, LogLevel, Timing, TokenUsage
from smolagents.utils import AgentGenerationError
from support.hostile_text import TEXTS, steers
from support.linear_time import assert_linear

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.integrations.smolagents.step_recorder import StepRecorder


def recorded(*texts: str) -> str | None:
    step = ActionStep(step_number=1, timing=Timing(start_time=0.0))
    recorder = StepRecorder(step, "1", AgentLogger(LogLevel.OFF))
    for text in texts:
        recorder.add_text(text)
    recorder.record_output(TokenUsage(1, 1))
    output = step.model_output
    assert output is None or isinstance(output, str)
    return output


@pytest.mark.parametrize(
    ("texts", "output"),
    [
        (["a", "b"], "ab"),
        (["a<|im_", "end|>"], "a"),
        (["a <|im_end|><|endoftext|>\n"], "a "),
        (["<|im_end|>b"], "<|im_end|>b"),
        (["a|>"], "a|>"),
        (["a<|X|>"], "a<|X|>"),
        (["<|im_end|>"], None),
    ],
)
def test_output_ends_before_the_tokens_that_end_the_turn(texts: list[str], output: str | None) -> None:
    assert recorded(*texts) == output


@pytest.mark.parametrize("unit", ["<|a|>", "<|", "|>", " ", "<|a|>x", "<|a|>\n"])
@pytest.mark.parametrize("end", ["", "x", "<|a|>", "|>"])
def test_time_is_linear_in_hostile_text(unit: str, end: str) -> None:
    assert_linear(lambda text: recorded(text + end), unit)


@pytest.mark.parametrize("text", TEXTS.values())
def test_log_is_only_text_and_memory_keeps_the_value(text: str) -> None:
    shown = io.StringIO()
    step = ActionStep(step_number=1, timing=Timing(0.0))
    recorder = StepRecorder(step, "1", AgentLogger(LogLevel.DEBUG, Console(file=shown, width=4000)))
    recorder.add_text(text)
    recorder.record_note(text)
    recorder.record_output(TokenUsage(1, 1))
    recorder.record_call(text)
    result = executor.SnippetResult(outcome=executor.OUTCOME_EXCEPTION, value=text)
    recorder.record_result(pb.ToolResult(text=text, result=result))
    recorder.record_end(pb.Trajectory(status=pb.STATUS_ANSWERED, answer=text))
    with pytest.raises(AgentGenerationError):
        recorder.record_end(pb.Trajectory(status=pb.STATUS_INFRASTRUCTURE_FAILED, notes=[text]))
    assert not steers(shown.getvalue())
    assert (step.code_action, step.observations, step.action_output) == (text, text, text)
