"""Public hooks in place of the private step loop of smolagents' agents."""

from collections.abc import Generator

from smolagents.agents import MultiStepAgent, StreamEvent
from smolagents.memory import ActionStep, FinalAnswerStep


class StepLoopAgent(MultiStepAgent):
    """An agent whose steps come from `run_steps` and `run_step`.

    smolagents has no hook for a loop of one's own: `MultiStepAgent.run` calls `_run_stream`, which alternates model and
    executor calls by `_step_stream` and reports each step by `_finalize_step` (`agents.py`; no upstream issue is
    known).
    """

    def run_steps(self, task: str, max_steps: int) -> Generator[StreamEvent, None, None]:
        """Yield the events of a run, the last of them a FinalAnswerStep."""
        raise NotImplementedError

    def run_step(self, step: ActionStep) -> Generator[StreamEvent, None, None]:
        """Fill in `step`, and yield its events."""
        raise NotImplementedError

    def run_step_instrumented(self, step: ActionStep) -> Generator[StreamEvent, None, None]:
        """Run a step by the method that instrumentations wrap."""
        yield from self._step_stream(step)

    def finish_step(self, step: ActionStep | FinalAnswerStep) -> None:
        """Set the end time of `step`, and call the step callbacks."""
        self._finalize_step(step)

    def _run_stream(
        self,
        task: str,
        max_steps: int,
        images: list[object] | None = None,  # noqa: ARG002 - smolagents' signature
    ) -> Generator[StreamEvent, None, None]:
        yield from self.run_steps(task, max_steps)

    def _step_stream(self, memory_step: ActionStep) -> Generator[StreamEvent, None, None]:
        yield from self.run_step(memory_step)
