"""Recording of one step of the generator's loop as smolagents records steps: in an ActionStep, and in the log."""

import re

from rich.text import Text
from smolagents.agents import ActionOutput
from smolagents.memory import ActionStep, ToolCall
from smolagents.models import ChatMessage, MessageRole
from smolagents.monitoring import YELLOW_HEX, AgentLogger, LogLevel, TokenUsage
from smolagents.utils import AgentExecutionError, AgentGenerationError, AgentMaxStepsError

from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.printable_text import printable

_SPECIAL_TOKEN = re.compile(r"<\|[a-z_]{1,60}\|>")
_NO_ANSWER = {
    pb.STATUS_NO_ANSWER: "the model ended its turn without an answer in \\boxed{}",
    pb.STATUS_TOKEN_BUDGET: "the token budget, or the model's context, was exhausted before an answer",
    pb.STATUS_STEP_BUDGET: "the step budget, max_steps, was exhausted before an answer",
    pb.STATUS_TIME_BUDGET: "the time budget was exhausted before an answer",
}


class StepRecorder:
    """Fills `step` from the generator's events, and logs them. `call_id` identifies the step's tool call."""

    def __init__(self, step: ActionStep, call_id: str, logger: AgentLogger) -> None:
        self._step = step
        self._call_id = call_id
        self._logger = logger
        self._texts: list[str] = []

    def add_text(self, text: str) -> None:
        """Append model output."""
        self._texts.append(text)

    def record_note(self, text: str) -> None:
        """Log a note of the generator."""
        self._logger.log(Text(printable(text), style="yellow"))

    def record_output(self, usage: TokenUsage) -> None:
        """Record the model output up to here, without its end-of-turn tokens."""
        self._step.token_usage = usage
        if text := _without_end_of_turn("".join(self._texts)):
            self._step.model_output = text
            self._step.model_output_message = ChatMessage(MessageRole.ASSISTANT, content=text, token_usage=usage)
            self._logger.log_markdown(printable(text), title="Output message of the LLM:", level=LogLevel.DEBUG)

    def record_call(self, code: str) -> ToolCall:
        """Record the call of a snippet, and return it."""
        call = ToolCall(name="python_interpreter", arguments=code, id=self._call_id)
        self._step.code_action, self._step.tool_calls = code, [call]
        self._logger.log_code(title="Executing parsed code:", content=printable(code), level=LogLevel.INFO)
        return call

    def record_result(self, result: pb.ToolResult) -> ActionOutput:
        """Record the result of the snippet, and return it."""
        step = self._step
        step.observations = result.text
        step.action_output = result.result.value if result.result.HasField("value") else None
        self._logger.log(Text(f"Out: {printable(result.text)}"), level=LogLevel.INFO)
        if result.result.outcome != executor.OUTCOME_OK:
            step.error = AgentExecutionError(_last_line(result.text), self._logger)
        return ActionOutput(output=step.action_output, is_final_answer=False)

    def record_end(self, trajectory: pb.Trajectory) -> ActionOutput:
        """Record the answer, or why there is none, and return it.

        Raises:
            AgentGenerationError: Infrastructure failure.
        """
        step = self._step
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            reason = "; ".join(trajectory.notes) or "the engine or every executor failed"
            raise AgentGenerationError(f"Error in generating model output:\n{printable(reason)}", self._logger)
        step.is_final_answer = True
        if trajectory.status == pb.STATUS_ANSWERED:
            step.action_output = trajectory.answer
            answer = Text(f"Final answer: {printable(trajectory.answer)}", style=f"bold {YELLOW_HEX}")
            self._logger.log(answer, level=LogLevel.INFO)
        else:
            step.error = AgentMaxStepsError(_NO_ANSWER.get(trajectory.status, "no answer"), self._logger)
        return ActionOutput(output=step.action_output, is_final_answer=True)


def _last_line(text: str) -> str:
    return printable(text).rstrip("\n").rpartition("\n")[2]


def _without_end_of_turn(text: str) -> str:
    """Return `text` without the special tokens at its end, in time linear in its length."""
    start = end = len(text.rstrip())
    while text.endswith("|>", 0, start):
        last = text.rfind("<|", 0, start)
        if last < 0 or not _SPECIAL_TOKEN.fullmatch(text, last, start):
            break
        start = last
    return text[:start] if start < end else text
