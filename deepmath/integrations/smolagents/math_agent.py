"""The generator's own agent loop as a smolagents agent."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator
from contextlib import closing
from typing import Any, NoReturn, Self

from smolagents.agent_types import handle_agent_output_types
from smolagents.agents import EMPTY_PROMPT_TEMPLATES, ManagedAgentPromptTemplate, PromptTemplates, StreamEvent
from smolagents.memory import ActionStep, FinalAnswerStep, TaskStep
from smolagents.models import ChatMessage, ChatMessageStreamDelta
from smolagents.monitoring import LogLevel, Timing, TokenUsage
from smolagents.utils import AgentError, AgentGenerationError

from deepmath.errors import DeepMathError, InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.integrations.smolagents.generator_model import DeepMathModel, to_token_usage
from deepmath.integrations.smolagents.smolagents_patches.step_loop import StepLoopAgent
from deepmath.integrations.smolagents.step_recorder import StepRecorder
from deepmath.printable_text import printable
from deepmath.sandbox.background_loop import BlockingStream

_TEMPLATES = PromptTemplates(
    **EMPTY_PROMPT_TEMPLATES
    | {
        "managed_agent": ManagedAgentPromptTemplate(
            task="{{task}}",  # the model was trained on bare problems
            report="{% if final_answer is none %}'{{name}}' found no answer.{% else %}"
            "Here is the final answer from your managed agent '{{name}}':\n{{final_answer}}{% endif %}",
        )
    }
)
_OPTIONS = {
    "verbosity_level",
    "step_callbacks",
    "name",
    "description",
    "provide_run_summary",
    "return_full_result",
    "logger",
}


class MathAgent(StepLoopAgent):
    """Solves maths problems by the generator's own agent loop, the one that its model was trained with.

    A step is the model's output up to a tool call, and the output of the snippet; the last step has the answer. `run`
    returns the answer as text, or None if there is none: then the last step's `error` has the reason, and the state of
    a RunResult is "max_steps_error", whichever budget was exhausted. With `stream_outputs`, `run(stream=True)` also
    yields the text as it is generated.

    Each run is an independent question. With `reset=False`, memory and counts are kept, but the model does not see
    them. The loop has no tools besides Python, managed agents, planning, instructions or final-answer checks; such
    options are rejected.

    A context manager; `cleanup` closes a model that the agent created.

    Args:
        model: The generator and its sampling parameters. Default: start a local stack.
        budget: Budget of one run. Its `max_steps` is replaced by the agent's or the run's.
        max_steps: Model outputs per run, each up to a tool call or `max_step_tokens`.
        stream_outputs: Whether `run(stream=True)` yields text deltas.
        options: Other options of smolagents' agents.

    Raises:
        InvalidRequest: An argument is invalid.
        Unavailable: The local stack does not start.
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
            raise InvalidRequest(
                f"MathAgent runs the generator's own loop; its model is a DeepMathModel, not {model!r}"
            )
        if unknown := sorted(options.keys() - _OPTIONS):
            raise InvalidRequest(f"MathAgent does not support {', '.join(unknown)}: its loop is the generator's own")
        self._own_model = DeepMathModel() if model is None else None
        self._events: BlockingStream[pb.SolveResponse] | None = None
        self._recorded_usage = TokenUsage(0, 0)
        self.budget = budget or pb.Budget()
        super().__init__(
            tools=[], model=model or self._own_model, prompt_templates=_TEMPLATES, max_steps=max_steps, **options
        )
        self.tools: dict[str, Any] = {}  # drop `final_answer`: the answer comes in \boxed{}
        self.stream_outputs = stream_outputs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def cleanup(self) -> None:
        """Close a model that the agent created, and its local stack."""
        if self._own_model:
            self._own_model.cleanup()

    def initialize_system_prompt(self) -> str:
        """Return a placeholder: the generator has the prompt."""
        return "The generator's own, from the prompt template of its model."

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
        """Solve `task`, like smolagents' agents. `additional_args` become lines of the question.

        Raises:
            InvalidRequest: An argument is invalid.
            AgentGenerationError: The generator rejected the question, is unreachable or failed; see its cause.
            AgentError: The run was interrupted.
        """
        if not isinstance(task, str) or not task.strip():
            raise InvalidRequest(f"task is {task!r}; pass the problem as text")
        if images:
            raise InvalidRequest("the model reads text only; leave out images and files")
        for name, value in (additional_args or {}).items():
            if not isinstance(value, str | int | float | list | tuple | dict):
                raise InvalidRequest(
                    f"additional_args[{name!r}] is a {type(value).__name__}; the model reads text only: "
                    "pass numbers, strings, or lists and dicts of them"
                )
            task += f"\n{name} = {value!r}"
        return super().run(task, stream=stream, reset=reset, max_steps=max_steps, return_full_result=return_full_result)

    def interrupt(self) -> None:
        """Stop the current run, from another thread or a callback. It raises AgentError, and its sandbox is killed."""
        super().interrupt()
        if self._events:
            self._events.cancel()

    def run_steps(self, task: str, max_steps: int) -> Generator[StreamEvent, None, None]:
        """Yield the events of one trajectory."""
        budget = pb.Budget()
        budget.CopyFrom(self.budget)
        budget.max_steps = max_steps
        self._recorded_usage = TokenUsage(0, 0)
        with closing(self.model.solve(task, budget)) as self._events:
            for self.step_number in itertools.count(1):
                step = ActionStep(step_number=self.step_number, timing=Timing(start_time=time.time()))
                self.logger.log_rule(f"Step {self.step_number}", level=LogLevel.INFO)
                failure: AgentError | None = None
                try:
                    yield from self.run_step_instrumented(step)
                except AgentError as error:
                    step.error = failure = error
                self.finish_step(step)
                self.memory.steps.append(step)
                yield step
                if failure:
                    raise failure
                if step.is_final_answer:
                    break
        final = FinalAnswerStep(handle_agent_output_types(step.action_output))
        self.finish_step(final)
        yield final

    def run_step(self, step: ActionStep) -> Generator[StreamEvent, None, None]:
        """Record the generator's events in `step`, up to a snippet's result or the end of the trajectory."""
        self._raise_if_interrupted()
        step.model_input_messages = self._messages_of_this_run()
        recorder = StepRecorder(step, f"call_{len(self.memory.steps)}", self.logger)
        try:
            for event in self._events or ():
                match event.WhichOneof("event"):
                    case "text":
                        recorder.add_text(event.text.text)
                        if self.stream_outputs:
                            yield ChatMessageStreamDelta(content=event.text.text)
                    case "note":
                        recorder.record_note(event.note.text)
                    case "snippet":
                        usage = to_token_usage(event.snippet.usage)
                        self._recorded_usage = _add(self._recorded_usage, usage)
                        recorder.record_output(usage)
                        yield recorder.record_call(event.snippet.code)
                    case "result":
                        yield recorder.record_result(event.result)
                        return
                    case "trajectory":
                        recorder.record_output(self._unrecorded(event.trajectory.usage))
                        end = recorder.record_end(event.trajectory)
                    case "vote":  # the last event; returning before it would cancel the call
                        yield end
                        return
        except DeepMathError as error:
            raise AgentGenerationError(
                f"Error in generating model output:\n{printable(str(error))}", self.logger
            ) from error
        self._raise_if_interrupted()
        raise AgentGenerationError("Error in generating model output:\nthe generator's stream ended early", self.logger)

    def _raise_if_interrupted(self) -> None:
        if self.interrupt_switch:
            raise AgentError("Agent interrupted.", self.logger)

    def _messages_of_this_run(self) -> list[ChatMessage]:
        """Return this run as smolagents' messages. The model reads the same content in its own format."""
        steps = self.memory.steps
        start = max(index for index, step in enumerate(steps) if isinstance(step, TaskStep))
        return [message for step in steps[start:] for message in step.to_messages()]

    def _unrecorded(self, total: pb.Usage) -> TokenUsage:
        """Return the part of a run's usage that no step has yet."""
        recorded = self._recorded_usage
        return TokenUsage(total.input_tokens - recorded.input_tokens, total.output_tokens - recorded.output_tokens)

    def save(self, *_: Any, **__: Any) -> NoReturn:
        """Not supported; neither are `push_to_hub` and `from_dict`.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError("a MathAgent is a connection to a generator and cannot be saved")

    push_to_hub = save

    @classmethod
    def from_dict(cls, agent_dict: dict[str, Any], **_: Any) -> NoReturn:
        """Not supported.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(
            f"create a MathAgent with MathAgent(DeepMathModel(ADDRESS)), not from {agent_dict!r:.80}"
        )


def _add(left: TokenUsage, right: TokenUsage) -> TokenUsage:
    return TokenUsage(left.input_tokens + right.input_tokens, left.output_tokens + right.output_tokens)
