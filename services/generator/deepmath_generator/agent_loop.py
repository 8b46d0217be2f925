"""The agent loop: runs a trajectory from its prompt to its end, for training, evaluation and serving alike.

Theory of operation. A trajectory is a state machine over an append-only list of token ids:

    GENERATE ── tool call ──► EXECUTE ── output appended ──► GENERATE ...
        └── end of turn, an answer at the end of a step, or an exhausted budget ──► ended, with a status

GENERATE samples the next step from the engine, after exactly the token ids so far. EXECUTE runs the snippet of the tool
call that ended the step, in the trajectory's own sandbox session, and appends its output. No text is ever decoded and
encoded again, so the trainer receives the token ids that the engine sampled.

A step ends after a tool call, at the end of the turn, or after `max_step_tokens`. The answer is looked for at the end
of a step, outside tool calls. A step that ends with a tool call always runs it, even after a boxed answer.

A trajectory is a coroutine that waits for the engine or the executor and for nothing else, so hundreds of them share
one event loop. An infrastructure failure ends it with STATUS_INFRASTRUCTURE_FAILED instead of an exception. Cancelling
it aborts the engine's request and closes the session, and with it the sandbox.
"""

import asyncio
from enum import Enum
from typing import TypeAlias

from deepmath.clients import ExecutorClient
from deepmath.data.transcript import called_code, write_output
from deepmath.errors import DeepMathError
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.observability import tracing
from deepmath_generator.inference_engine import FinishReason, InferenceEngine, SampledTokens
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.prompt_template import Mode
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.snippet_sessions import SnippetSession, SnippetSessions
from deepmath_generator.tool_output import encode_tool_output, render_result
from deepmath_generator.trajectory import Trajectory
from deepmath_generator.trajectory_budget import TrajectoryBudget
from deepmath_generator.trajectory_events import Emit, TrajectoryEvents


class LoopState(Enum):
    """Next action of a trajectory."""

    GENERATE = "generate"
    EXECUTE = "execute"


Next: TypeAlias = "LoopState | pb.Status.ValueType"  # the next state, or the final status


class AgentLoop:
    """Runs any number of trajectories at once on one engine and one pool of executors."""

    def __init__(
        self,
        engine: InferenceEngine,
        client: ExecutorClient | None,
        tool_output_bytes: int,
        metrics: GeneratorMetrics | None = None,
    ) -> None:
        self._engine = engine
        self._metrics = metrics or GeneratorMetrics()
        self._sessions = SnippetSessions(client, tool_output_bytes, self._metrics)

    @property
    def executing(self) -> int:
        """Number of snippets that are queued or running at the executors."""
        return self._sessions.executing

    async def run(
        self,
        prompt_ids: list[int],
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None = None,
    ) -> pb.Trajectory:
        """Run one trajectory and return it; `emit` receives its events as they happen."""
        thinking = self._engine.tokenizer.decode(prompt_ids[-8:]).rstrip().endswith("<think>")
        trajectory = Trajectory(prompt_ids, thinking)
        events = TrajectoryEvents(emit, trajectory, self._engine.tokenizer)
        session = self._sessions.session(sampling.seed or 0, events.note)
        run = _TrajectoryRun(self._engine, self._metrics, trajectory, events, session, mode, sampling, budget)
        try:
            ended = trajectory.to_proto(await run.run())
        except DeepMathError as error:
            trajectory.notes.append(str(error))
            ended = trajectory.to_proto(pb.STATUS_INFRASTRUCTURE_FAILED)
        except asyncio.CancelledError:
            self._metrics.record_cancellation()
            raise
        finally:
            await session.close()
        self._metrics.record_trajectory(ended)
        return ended


class _TrajectoryRun:
    """State machine of one running trajectory."""

    def __init__(
        self,
        engine: InferenceEngine,
        metrics: GeneratorMetrics,
        trajectory: Trajectory,
        events: TrajectoryEvents,
        session: SnippetSession,
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
    ) -> None:
        self.engine, self.metrics = engine, metrics
        self.trajectory, self.events, self.session = trajectory, events, session
        self.tools = mode == "agent"
        self.sampling, self.budget = sampling, budget
        self.deadline = trajectory.started + budget.wall_ms / 1000
        self.max_tokens = min(budget.max_tokens, engine.context_length - len(trajectory.prompt_ids))
        self.code = ""  # of the pending tool call

    async def run(self) -> pb.Status.ValueType:
        """Run to the end and return the status."""
        state: Next = LoopState.GENERATE
        while isinstance(state, LoopState):
            state = await (self.generate() if state is LoopState.GENERATE else self.execute())
        return state

    async def generate(self) -> Next:
        trajectory = self.trajectory
        if trajectory.steps == self.budget.max_steps:
            return self.final_status(pb.STATUS_STEP_BUDGET)
        if trajectory.tokens >= self.max_tokens:
            return self.final_status(pb.STATUS_TOKEN_BUDGET)
        sample = await self.sample_step()
        text = self.engine.tokenizer.decode(sample.token_ids, skip_special_tokens=False)
        trajectory.append_sample(sample, text, self.sampling.temperature)
        match sample.finish:
            case FinishReason.TOOL_CALL:
                self.code = called_code(text) or ""
                return LoopState.EXECUTE
            case FinishReason.END_OF_TURN | FinishReason.STOP_SEQUENCE:  # the loop sets no stop sequences
                return self.final_status(pb.STATUS_NO_ANSWER)
            case FinishReason.DEADLINE:
                return self.final_status(pb.STATUS_TIME_BUDGET)
            case FinishReason.LENGTH:
                return pb.STATUS_ANSWERED if trajectory.final_answer else LoopState.GENERATE

    async def sample_step(self) -> SampledTokens:
        trajectory, on_tokens = self.trajectory, self.events.text_stream()
        with tracing.span("segment", context_tokens=len(trajectory.token_ids)) as span, self.metrics.segment_time():
            sample = await self.engine.generate(
                trajectory.token_ids,
                self.sampling,
                max_tokens=min(self.budget.max_step_tokens, self.max_tokens - trajectory.tokens),
                tools=self.tools,
                seed=self.sampling.step_seed(trajectory.steps),
                deadline=self.deadline,
                on_tokens=on_tokens and self.metrics.first_token_time(on_tokens),
            )
            span.set(tokens=len(sample.token_ids), finish=sample.finish.value, policy_version=sample.policy_version)
        self.metrics.record_sampled_tokens(len(sample.token_ids))
        return sample

    async def execute(self) -> Next:
        trajectory = self.trajectory
        remaining_ms = min(self.budget.executor_ms - trajectory.executor_ms, self.remaining_wall_ms())
        if remaining_ms < 1:
            return self.final_status(pb.STATUS_TIME_BUDGET)
        self.events.snippet_started(self.code)
        try:
            async with asyncio.timeout_at(self.deadline):  # includes the wait for an executor
                result = await self.session.run(self.code, int(min(self.budget.snippet_ms, remaining_ms)))
        except TimeoutError:
            return self.final_status(pb.STATUS_TIME_BUDGET)
        trajectory.append_snippet(self.code, result)
        text = render_result(result)
        self.events.snippet_ended(text, result)
        token_ids = encode_tool_output(self.engine.tokenizer, text)
        if trajectory.tokens + len(token_ids) > self.max_tokens:
            return self.final_status(pb.STATUS_TOKEN_BUDGET)
        trajectory.append_tool_output(token_ids, write_output(text))
        self.metrics.record_tool_tokens(len(token_ids))
        return LoopState.GENERATE

    def final_status(self, status: pb.Status.ValueType) -> pb.Status.ValueType:
        """Return `status`, or STATUS_ANSWERED if there is an answer: it counts whatever ended the trajectory later.

        At the end of the turn a box within unfinished thinking counts as the answer, elsewhere it is a draft.
        """
        turn_ended = status == pb.STATUS_NO_ANSWER
        answer = self.trajectory.answer if turn_ended else self.trajectory.final_answer
        return pb.STATUS_ANSWERED if answer else status

    def remaining_wall_ms(self) -> float:
        return (self.deadline - asyncio.get_running_loop().time()) * 1000
