"""The generator's own agent loop as one of smolagents' agents."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Generator
from contextlib import closing
from typing import TYPE_CHECKING, Any, NoReturn, Self

from rich.text import Text
from smolagents.agent_types import handle_agent_output_types
from smolagents.agents import (
    EMPTY_PROMPT_TEMPLATES,
    ActionOutput,
    ManagedAgentPromptTemplate,
    MultiStepAgent,
    PromptTemplates,
    StreamEvent,
)
from smolagents.memory import ActionStep, FinalAnswerStep, TaskStep, ToolCall
from smolagents.models import ChatMessage, ChatMessageStreamDelta, MessageRole
from smolagents.monitoring import YELLOW_HEX, LogLevel, Timing, TokenUsage
from smolagents.utils import AgentError, AgentExecutionError, AgentGenerationError, AgentMaxStepsError

from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.integrations.smolagents.generator_model import DeepMathModel, as_usage

if TYPE_CHECKING:
    from deepmath.integrations.background_loop import BlockingStream

_END_OF_TURN = re.compile(r"(<\|[a-z_]+\|>)+\s*$")

_TEMPLATES = PromptTemplates(
    **EMPTY_PROMPT_TEMPLATES
    | {
        "managed_agent": ManagedAgentPromptTemplate(
            task="{{task}}",  # the model knows problems, and no talk around them
            report="{% if final_answer is none %}'{{name}}' found no answer.{% else %}"
            "Here is the final answer from your managed agent '{{name}}':\n{{final_answer}}{% endif %}",
        )
    }
)

_ENDED_BY = {
    pb.STATUS_NO_ANSWER: "the model ended its turn without an answer in \\boxed{}",
    pb.STATUS_TOKEN_BUDGET: "the budget of tokens, or the model's context, was spent before there was an answer",
    pb.STATUS_STEP_BUDGET: "the budget of steps, max_steps, was spent before there was an answer",
    pb.STATUS_TIME_BUDGET: "the budget of time was spent before there was an answer",
}


_OPTIONS = {
    "verbosity_level",
    "step_callbacks",
    "name",
    "description",
    "provide_run_summary",
    "return_full_result",
    "logger",
}


class MathAgent(MultiStepAgent):
    """Solves maths problems by the generator's own loop, with which its model was trained.

    A step is what the model writes up to a tool call, and what the snippet gave it to read; the last has the answer.
    `run` returns the answer as text, or None where there is none: the last step's `error` says why, and the state of a
    RunResult is "max_steps_error" whatever was spent. With `stream_outputs`, `run(stream=True)` has the text too, as it
    is written.

    `model` is where the generator is and how it draws; without one, this starts a local stack. `budget` is what one run
    may use; `max_steps` of it is the agent's, or the run's, and counts what the model writes up to a tool call, or to
    `max_step_tokens`. All others are as in smolagents. What the loop has no place for is refused: tools beside Python,
    managed agents, plans, instructions, checks of the final answer.

    Each run is a question of its own: with `reset=False` memory and counts go on, but the model reads nothing of them.

    A context manager; `cleanup` ends the model where this has made it.

    Raises:
        InvalidRequest: an argument cannot be used.
        Unavailable: the local stack does not start.
    """

    def __init__(
        self,
        model: DeepMathModel | None = None,
        *,
        budget: pb.Budget | None = None,
        max_steps: int = 50,
        stream_outputs: bool = False,
        **options: Any,
    ) -> None:
        if model is not None and not isinstance(model, DeepMathModel):
            raise InvalidRequest(f"MathAgent runs the generator's own loop: its model is a DeepMathModel, no {model!r}")
        if unknown := sorted(options.keys() - _OPTIONS):
            raise InvalidRequest(f"MathAgent takes no {', '.join(unknown)}: its loop is the generator's own")
        self._own_model = DeepMathModel() if model is None else None
        self._events: BlockingStream[pb.SolveResponse] | None = None
        self._told = TokenUsage(0, 0)
        self.budget = budget or pb.Budget()
        super().__init__(
            tools=[], model=model or self._own_model, prompt_templates=_TEMPLATES, max_steps=max_steps, **options
        )
        self.tools: dict[str, Any] = {}  # answers come in a box, by no tool
        self.stream_outputs = stream_outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """End the model, and its stack, where this has made it."""
        if self._own_model:
            self._own_model.cleanup()

    def initialize_system_prompt(self) -> str:
        """Return where the prompt is: not here."""
        return "The generator's own, by the prompt template of its model."

    def run(
        self,
        task: str,
        stream: bool = False,
        reset: bool = True,
        images: list[Any] | None = None,
        additional_args: dict[str, Any] | None = None,
        max_steps: int | None = None,
        return_full_result: bool | None = None,
    ) -> Any:
        """Solve `task`, as smolagents' agents do. `additional_args` become lines of the question.

        Raises:
            InvalidRequest: an argument cannot be used.
            AgentGenerationError: the generator refused the question, cannot be reached or failed; its cause says which.
            AgentError: the run was interrupted.
        """
        if not isinstance(task, str) or not task.strip():
            raise InvalidRequest(f"task is {task!r}; give the problem to solve, as text")
        if images:
            raise InvalidRequest("the model reads text only: leave out images (and files)")
        for name, value in (additional_args or {}).items():
            if not isinstance(value, str | int | float | list | tuple | dict):
                raise InvalidRequest(
                    f"additional_args[{name!r}] is a {type(value).__name__}; the model reads text only: "
                    "give numbers, texts, or lists and dicts of them"
                )
            task += f"\n{name} = {value!r}"
        return super().run(task, stream=stream, reset=reset, max_steps=max_steps, return_full_result=return_full_result)

    def interrupt(self) -> None:
        """End the run under way, from another thread or a callback: it raises AgentError, and its sandbox dies."""
        super().interrupt()
        if self._events:
            self._events.cancel()

    def _run_stream(
        self,
        task: str,
        max_steps: int,
        images: list[Any] | None = None,  # noqa: ARG002 - smolagents' signature; there are none
    ) -> Generator[StreamEvent, None, None]:
        budget = pb.Budget()
        budget.CopyFrom(self.budget)
        budget.max_steps = max_steps
        self._told = TokenUsage(0, 0)
        with closing(self.model.solve(task, budget)) as self._events:
            for self.step_number in itertools.count(1):
                step = ActionStep(step_number=self.step_number, timing=Timing(start_time=time.time()))
                self.logger.log_rule(f"Step {self.step_number}", level=LogLevel.INFO)
                failure: AgentError | None = None
                try:
                    yield from self._step_stream(step)
                except AgentError as error:
                    step.error = failure = error
                self._finalize_step(step)
                self.memory.steps.append(step)
                yield step
                if failure:
                    raise failure
                if step.is_final_answer:
                    break
        final = FinalAnswerStep(handle_agent_output_types(step.action_output))
        self._finalize_step(final)
        yield final

    def _step_stream(self, memory_step: ActionStep) -> Generator[StreamEvent, None, None]:
        """Fill `memory_step` with the generator's events up to the end of a snippet, or of the trajectory."""
        if self.interrupt_switch:
            raise AgentError("Agent interrupted.", self.logger)
        memory_step.model_input_messages = self._run_so_far()
        text = ""
        try:
            for event in self._events or ():
                match event.WhichOneof("event"):
                    case "text":
                        text += event.text.text
                        if self.stream_outputs:
                            yield ChatMessageStreamDelta(content=event.text.text)
                    case "note":
                        self.logger.log(Text(event.note.text, style="yellow"))
                    case "snippet":
                        self._wrote(memory_step, text, as_usage(event.snippet.usage))
                        yield self._called(memory_step, event.snippet.code)
                    case "result":
                        yield self._observed(memory_step, event.result)
                        return
                    case "trajectory":
                        self._wrote(memory_step, text, self._untold(event.trajectory.usage))
                        ended = self._ended(memory_step, event.trajectory)
                    case "vote":  # after the last sample; to leave before would be to cancel the call
                        yield ended
                        return
        except DeepMathError as error:
            raise AgentGenerationError(f"Error in generating model output:\n{error}", self.logger) from error
        if self.interrupt_switch:
            raise AgentError("Agent interrupted.", self.logger)
        raise AgentGenerationError("Error in generating model output:\nthe generator left it unfinished", self.logger)

    def _run_so_far(self) -> list[ChatMessage]:
        """Return this run as smolagents tells of it. The model reads the same, in its own format."""
        steps = self.memory.steps
        begun = max(index for index, step in enumerate(steps) if isinstance(step, TaskStep))
        return [message for step in steps[begun:] for message in step.to_messages()]

    def _wrote(self, step: ActionStep, text: str, usage: TokenUsage) -> None:
        self._told = TokenUsage(
            self._told.input_tokens + usage.input_tokens, self._told.output_tokens + usage.output_tokens
        )
        step.token_usage = usage
        if text := _END_OF_TURN.sub("", text):
            step.model_output = text
            step.model_output_message = ChatMessage(MessageRole.ASSISTANT, content=text, token_usage=usage)
            self.logger.log_markdown(text, title="Output message of the LLM:", level=LogLevel.DEBUG)

    def _untold(self, total: pb.Usage) -> TokenUsage:
        return TokenUsage(total.input_tokens - self._told.input_tokens, total.output_tokens - self._told.output_tokens)

    def _called(self, step: ActionStep, code: str) -> ToolCall:
        call = ToolCall(name="python_interpreter", arguments=code, id=f"call_{len(self.memory.steps)}")
        step.code_action, step.tool_calls = code, [call]
        self.logger.log_code(title="Executing parsed code:", content=code, level=LogLevel.INFO)
        return call

    def _observed(self, step: ActionStep, result: pb.ToolResult) -> ActionOutput:
        step.observations = result.text
        step.action_output = result.result.value if result.result.HasField("value") else None
        self.logger.log(Text(f"Out: {result.text}"), level=LogLevel.INFO)
        if result.result.outcome != executor.OUTCOME_OK:
            step.error = AgentExecutionError(result.text.splitlines()[-1], self.logger)
        return ActionOutput(output=step.action_output, is_final_answer=False)

    def _ended(self, step: ActionStep, trajectory: pb.Trajectory) -> ActionOutput:
        if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
            reason = "; ".join(trajectory.notes) or "the engine or every executor failed"
            raise AgentGenerationError(f"Error in generating model output:\n{reason}", self.logger)
        step.is_final_answer = True
        if trajectory.status == pb.STATUS_ANSWERED:
            step.action_output = trajectory.answer
            self.logger.log(Text(f"Final answer: {trajectory.answer}", style=f"bold {YELLOW_HEX}"), level=LogLevel.INFO)
        else:
            step.error = AgentMaxStepsError(_ENDED_BY.get(trajectory.status, "no answer"), self.logger)
        return ActionOutput(output=step.action_output, is_final_answer=True)

    def save(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse, as do `push_to_hub` and `from_dict`.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            "a MathAgent is a connection to a generator, and no files make one: keep the line of code that makes it"
        )

    push_to_hub = save

    @classmethod
    def from_dict(cls, agent_dict: dict[str, Any], **_: Any) -> NoReturn:
        """Refuse.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(
            f"a MathAgent is made by MathAgent(DeepMathModel(ADDRESS)), not of {agent_dict!r:.80}"
        )
