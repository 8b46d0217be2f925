"""The agent loop: runs a trajectory from its prompt to its end, for training, evaluation and serving alike.

Theory of operation. A trajectory is a state machine over an append-only list of token ids:

    GENERATE ── tool call ──► EXECUTE ── output appended ──► GENERATE ...
        └── end of turn, an answer at the end of a step, a stop sequence, an exhausted budget ──► ended, with a status

GENERATE samples the next step from the engine, after exactly the token ids so far. EXECUTE runs the snippet of the tool
call that ended the step, in the trajectory's own sandbox session, and appends its output. No text is ever decoded and
encoded again, so the trainer receives the token ids that the engine sampled.

A step ends after a tool call, at the end of the turn, or after `max_step_tokens`. The parser reads the trajectory, not
the step: a call that is open at the end of a step continues in the next one. The tokens of a step end with the one that
completes a call; an engine that has sampled more of them wasted them. A call that is open at the end of the turn is run
as well, if it has code: the loop ends it.

The answer is looked for at the end of a step that leaves no call open, outside tool calls and thinking. A step that
ends with a tool call always runs it, even after a boxed answer. A call without code is not run; the model reads why.

A trajectory is a coroutine that waits for the engine or the executor and for nothing else, so hundreds of them share
one event loop. An infrastructure failure ends it with STATUS_INFRASTRUCTURE_FAILED instead of an exception. Cancelling
it aborts the engine's request and closes the session, and with it the sandbox.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from enum import Enum
from typing import TypeAlias

from deepmath.clients import ExecutorClient
from deepmath.dialects import DIALECTS, Dialect, MalformedCall, OutputPiece
from deepmath.dialects.result_text import render_result
from deepmath.errors import DeepMathError
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.observability import tracing
from deepmath_generator.call_reader import CallReader
from deepmath_generator.inference_engine import FinishReason, InferenceEngine, SampledTokens
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.policy_versions import Policy
from deepmath_generator.prompt_template import Mode
from deepmath_generator.responsive_loop import ResponsiveLoop
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.snippet_sessions import SnippetSession, SnippetSessions, rejected_call
from deepmath_generator.stop_watch import StopWatch
from deepmath_generator.tool_output import encode_tool_output
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
        responsive: ResponsiveLoop | None = None,
        dialect: Dialect = DIALECTS["tool-call"],
    ) -> None:
        self._engine, self._dialect = engine, dialect
        self._responsive = responsive or ResponsiveLoop()
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
        policy: Policy | None = None,
        stop: Sequence[str] = (),
    ) -> pb.Trajectory:
        """Run one trajectory and return it; `emit` receives its events as they happen.

        `policy`, which the caller holds, samples all segments; by default each is sampled by the current one. A
        sequence of `stop` outside calls and thinking ends the trajectory.
        """
        async with self._responsive.turn():
            run = self._start(prompt_ids, mode, sampling, budget, emit, stop)
            run.policy = policy
        try:
            ended = await run.run()
        except DeepMathError as error:
            run.trajectory.notes.append(str(error))
            ended = await run.end(pb.STATUS_INFRASTRUCTURE_FAILED)
        except asyncio.CancelledError:
            self._metrics.record_cancellation()
            raise
        finally:
            await run.session.close()
        self._metrics.record_trajectory(ended)
        return ended

    def _start(
        self,
        prompt_ids: list[int],
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None,
        stop: Sequence[str],
    ) -> "_TrajectoryRun":
        thinking = self._engine.tokenizer.decode(prompt_ids[-8:]).rstrip().endswith("<think>")
        trajectory = Trajectory(prompt_ids, thinking, self._dialect)
        events = TrajectoryEvents(emit, trajectory)
        session = self._sessions.session(sampling.seed or 0, events.note)
        watch = StopWatch(stop, self._dialect.marks, thinking) if stop else None
        return _TrajectoryRun(
            self._engine, self._metrics, self._responsive, trajectory, events, session, mode, sampling, budget, watch
        )


class _TrajectoryRun:
    """State machine of one running trajectory."""

    def __init__(
        self,
        engine: InferenceEngine,
        metrics: GeneratorMetrics,
        responsive: ResponsiveLoop,
        trajectory: Trajectory,
        events: TrajectoryEvents,
        session: SnippetSession,
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        watch: StopWatch | None,
    ) -> None:
        self.engine, self.metrics, self.responsive = engine, metrics, responsive
        self.trajectory, self.events, self.session = trajectory, events, session
        self.tools = mode == "agent"
        self.sampling, self.budget = sampling, budget
        self.deadline = trajectory.started + budget.wall_ms / 1000
        self.max_tokens = min(budget.max_tokens, engine.context_length - len(trajectory.prompt_ids))
        self.dialect = trajectory.dialect
        self.watch = watch
        self.reader = CallReader(
            engine.tokenizer, self.dialect, trajectory.parser, self.tools, events.text_receiver, watch
        )
        self.reader.follow(trajectory.prompt_ids)
        self.pending = deque[str | None]()  # calls to run; None: an end without a start
        self.end_of_call = ""  # ends the first of them, if the model has not
        self.policy: Policy | None = None  # None: the current one of each step

    async def run(self) -> pb.Trajectory:
        """Run to the end and return the trajectory."""
        state: Next = LoopState.GENERATE
        while isinstance(state, LoopState):
            state = await (self.generate() if state is LoopState.GENERATE else self.execute())
        return await self.end(state)

    async def end(self, status: pb.Status.ValueType) -> pb.Trajectory:
        """Return the trajectory. With an answer its status is STATUS_ANSWERED, whatever ended it later.

        At the end of the turn a box within thinking counts as the answer, elsewhere it is a draft.
        """
        trajectory, infrastructure_failed = self.trajectory, status == pb.STATUS_INFRASTRUCTURE_FAILED
        trajectory.complete_text(self.reader.flush())
        final, draft = await self.responsive.process(trajectory.answers, trajectory.parser.length)
        if (final or (draft and status == pb.STATUS_NO_ANSWER)) and not infrastructure_failed:
            status = pb.STATUS_ANSWERED
        if (self.pending or trajectory.parser.in_call) and self.tools and not infrastructure_failed:
            trajectory.notes.append("the trajectory ended before its last tool call was complete; the call was not run")
        async with self.responsive.turn():
            return trajectory.to_proto(status, final or draft)

    async def generate(self) -> Next:
        trajectory, reader = self.trajectory, self.reader
        if trajectory.steps == self.budget.max_steps:
            return pb.STATUS_STEP_BUDGET
        if trajectory.tokens >= self.max_tokens:
            return pb.STATUS_TOKEN_BUDGET
        sample = await self.sample_step()
        if reader.calls:
            self.pending.extend(reader.calls)
            self.end_of_call = self.dialect.close_call(reader.calls[0] or "") if reader.is_unclosed else ""
            trajectory.append_sample(sample.first(reader.kept), reader.text, self.sampling.temperature)
            return LoopState.EXECUTE
        if reader.stopped:
            trajectory.append_sample(sample.first(reader.kept), reader.text, self.sampling.temperature)
            return pb.STATUS_STOP_SEQUENCE
        if sample.finish is FinishReason.END_OF_TURN and self.tools and trajectory.parser.in_call:
            return self.end_open_call(sample)
        trajectory.append_sample(sample, reader.text, self.sampling.temperature)
        match sample.finish:
            case FinishReason.END_OF_TURN | FinishReason.TOOL_CALL:  # the token that ends calls, without a call
                return pb.STATUS_NO_ANSWER
            case FinishReason.DEADLINE:
                return pb.STATUS_TIME_BUDGET
        if trajectory.parser.is_open:
            return LoopState.GENERATE
        answer = await self.responsive.process(trajectory.settled_answer, trajectory.parser.length)
        return pb.STATUS_ANSWERED if answer else LoopState.GENERATE

    def end_open_call(self, sample: SampledTokens) -> Next:
        """Append the last step of a turn that ends within a call, and end the call in place of the turn.

        The token that ended the turn is left out: the turn continues.
        """
        tokenizer, last, text = self.engine.tokenizer, sample.token_ids[-1], self.reader.text + self.reader.flush()
        call = self.trajectory.parser.end_call() or ""
        if last in tokenizer.added_tokens_decoder:
            end = tokenizer.decode([last], skip_special_tokens=False)
            sample, text, call = sample.first(-1), text.removesuffix(end), call.removesuffix(end)
        self.trajectory.append_sample(sample, text, self.sampling.temperature)
        self.pending.append(call)
        self.end_of_call = self.dialect.close_call(call)
        return LoopState.EXECUTE

    async def sample_step(self) -> SampledTokens:
        trajectory, reader = self.trajectory, self.reader
        on_tokens = reader.feed if self.events.text_receiver or reader.must_watch else None
        reader.start_step()
        with tracing.span("segment", context_tokens=len(trajectory.token_ids)) as span, self.metrics.segment_time():
            sample = await self.engine.generate(
                trajectory.token_ids,
                self.sampling,
                max_tokens=min(self.budget.max_step_tokens, self.max_tokens - trajectory.tokens),
                stop_token=reader.stop_token,
                seed=self.sampling.step_seed(trajectory.steps),
                deadline=self.deadline,
                on_tokens=on_tokens and self.metrics.first_token_time(on_tokens),
                policy=self.policy,
            )
            span.set(tokens=len(sample.token_ids), finish=sample.finish.value, policy_version=sample.policy_version)
        self.metrics.record_sampled_tokens(len(sample.token_ids))
        async with self.responsive.turn():
            reader.feed(sample.token_ids[reader.kept :])  # what was not read as it was sampled
        return sample

    async def execute(self) -> Next:
        trajectory = self.trajectory
        remaining_ms = min(self.budget.executor_ms - trajectory.executor_ms, self.remaining_wall_ms())
        if remaining_ms < 1:
            return pb.STATUS_TIME_BUDGET
        call = self.pending.popleft()
        code, mistake = await self.responsive.process(lambda: self.read_call(call), len(call or ""))
        self.events.snippet_started(code)
        if mistake:
            result = rejected_call(mistake)
        else:
            try:
                async with asyncio.timeout_at(self.deadline):  # includes the wait for an executor
                    result = await self.session.run(code, int(min(self.budget.snippet_ms, remaining_ms)))
            except TimeoutError:
                return pb.STATUS_TIME_BUDGET
        trajectory.append_snippet(code, result)
        text = render_result(result)
        pieces = [OutputPiece(self.end_of_call, is_control=True)] if self.end_of_call else []
        pieces += self.dialect.output(text, (trajectory.last_text + self.end_of_call)[-64:])
        shown = "".join(piece.text for piece in pieces)
        thinking = shown.rstrip().endswith("<think>")
        self.events.snippet_ended(text, result, thinking=thinking)
        if self.watch:
            self.watch.follow(thinking=thinking)
        token_ids = await self.responsive.process(lambda: encode_tool_output(self.engine.tokenizer, pieces), len(text))
        if trajectory.tokens + len(token_ids) > self.max_tokens:
            return pb.STATUS_TOKEN_BUDGET
        trajectory.append_tool_output(token_ids, shown)
        self.end_of_call = ""
        self.reader.follow(trajectory.token_ids)
        self.metrics.record_tool_tokens(len(token_ids))
        return LoopState.EXECUTE if self.pending else LoopState.GENERATE

    def read_call(self, call: str | None) -> tuple[str, str]:
        """Return the code of a call and, if there is none to run, what is wrong with the call."""
        if call is None:
            return "", f"there is no call here, so nothing was run; write Python code {self.dialect.form}"
        try:
            code = self.dialect.code(call)
            code.encode()
        except MalformedCall as error:
            return "", str(error).encode(errors="replace").decode()
        except UnicodeEncodeError:
            return "", "the code has half of a surrogate pair, so nothing was run; write the character itself"
        return code, "" if code else f"the call is empty, so nothing was run; write Python code {self.dialect.form}"

    def remaining_wall_ms(self) -> float:
        return (self.deadline - asyncio.get_running_loop().time()) * 1000
