"""The agent loop: the one way a question becomes a trajectory, in training, evaluation and serving.

Theory of operation. A trajectory is a state machine over an append-only list of token ids:

    GENERATE ── tool call ──► EXECUTE ── output appended ──► GENERATE ...
        └── end of turn, an answer at the end of a step, or a budget spent ──► ended, with a status

GENERATE asks the engine for the next step after exactly the ids so far. EXECUTE runs the snippet of the tool call that
the step ended with, in the trajectory's own sandbox session, and appends the output as ids of its own. Nothing is
decoded and encoded again, so what the trainer gets is what the engine sampled.

A step ends at `</tool_call>`, at the end of the turn, or at `max_step_tokens`. Answers are looked for at the end of a
step, outside tool calls; a step that ends with a tool call always has it run, so a box never keeps code from running.

A trajectory is a coroutine. It waits for the engine or the executor and for nothing else, so hundreds of them share one
event loop. Failures of ours end it with STATUS_INFRASTRUCTURE_FAILED: data, not an exception. Cancelling it aborts the
engine's request and ends the session, and with it the sandbox.
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import TypeAlias

from tokenizers.decoders import DecodeStream

from deepmath.clients import ExecutorClient, ExecutorSession
from deepmath.data.transcript import called_code, write_output
from deepmath.errors import DeepMathError, Unavailable
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.observability import tracing
from deepmath_generator.agent_prompt import Mode, encode_tool_output, result_text
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.trajectory import Trajectory
from deepmath_generator.trajectory_budget import TrajectoryBudget
from deepmath_generator.vllm_engine import Finish, VllmEngine

Emit = Callable[[pb.SolveResponse], None]


_MAX_CODE_BYTES = 256 << 10  # the executor's contract


class LoopState(Enum):
    """What a trajectory does next."""

    GENERATE = "generate"
    EXECUTE = "execute"


Next: TypeAlias = "LoopState | pb.Status.ValueType"  # a state to go on in, or the status to end with


class AgentLoop:
    """What all trajectories of a process share."""

    def __init__(
        self,
        engine: VllmEngine,
        client: ExecutorClient | None,
        tool_output_bytes: int,
        metrics: GeneratorMetrics | None = None,
    ) -> None:
        self.engine = engine
        self.client = client
        self.tool_output_bytes = tool_output_bytes
        self.metrics = metrics or GeneratorMetrics()
        self.executing = 0

    async def run(
        self,
        prompt_ids: list[int],
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None = None,
    ) -> pb.Trajectory:
        """Run one trajectory to its end and return it; `emit` gets its events while they happen."""
        thinking = self.engine.tokenizer.decode(prompt_ids[-8:]).rstrip().endswith("<think>")
        run = _Run(self, Trajectory(prompt_ids, thinking), mode, sampling, budget, emit)
        try:
            ended = run.trajectory.message(await run.to_the_end())
        except DeepMathError as error:
            run.trajectory.notes.append(str(error))
            ended = run.trajectory.message(pb.STATUS_INFRASTRUCTURE_FAILED)
        except asyncio.CancelledError:
            self.metrics.cancelled()
            raise
        finally:
            if run.session:
                await run.session.close()
        self.metrics.ended(ended)
        return ended


class _Run:
    """One trajectory under way."""

    def __init__(
        self,
        loop: AgentLoop,
        trajectory: Trajectory,
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None,
    ) -> None:
        self.loop, self.engine, self.metrics, self.trajectory = loop, loop.engine, loop.metrics, trajectory
        self.tools = mode == "agent"
        self.sampling, self.budget, self.emit = sampling, budget, emit
        self.deadline = trajectory.started + budget.wall_ms / 1000
        self.room = min(budget.max_tokens, self.engine.context_length - len(trajectory.prompt_ids))
        self.session: ExecutorSession | None = None
        self.code = ""  # of the tool call that EXECUTE is to run
        self.told = pb.Usage()  # with snippets so far

    async def to_the_end(self) -> pb.Status.ValueType:
        state: Next = LoopState.GENERATE
        while isinstance(state, LoopState):
            state = await (self.generate() if state is LoopState.GENERATE else self.execute())
        return state

    async def generate(self) -> Next:
        trajectory, budget = self.trajectory, self.budget
        if trajectory.steps == budget.max_steps:
            return self.ended(pb.STATUS_STEP_BUDGET)
        if trajectory.tokens >= self.room:
            return self.ended(pb.STATUS_TOKEN_BUDGET)
        with tracing.span("segment", context_tokens=len(trajectory.ids)) as span, self.metrics.segment():
            sample = await self.engine.generate(
                trajectory.ids,
                self.sampling,
                max_tokens=min(budget.max_step_tokens, self.room - trajectory.tokens),
                tools=self.tools,
                seed=self.sampling.step_seed(trajectory.steps),
                deadline=self.deadline,
                on_tokens=self.metrics.on_first(self.text_events()) if self.emit else None,
            )
            span.set(tokens=len(sample.token_ids), finish=sample.finish.value, policy_version=sample.policy_version)
        self.metrics.sampled(len(sample.token_ids))
        text = self.engine.tokenizer.decode(sample.token_ids, skip_special_tokens=False)
        trajectory.append_sample(sample, text, self.sampling.temperature)
        match sample.finish:
            case Finish.TOOL_CALL:
                self.code = called_code(text) or ""
                return LoopState.EXECUTE
            case Finish.END_OF_TURN | Finish.STOP_SEQUENCE:  # of which the loop asks for none
                return self.ended(pb.STATUS_NO_ANSWER)
            case Finish.DEADLINE:
                return self.ended(pb.STATUS_TIME_BUDGET)
            case Finish.LENGTH:
                return pb.STATUS_ANSWERED if trajectory.settled_answer else LoopState.GENERATE

    async def execute(self) -> Next:
        trajectory = self.trajectory
        left_ms = min(self.budget.executor_ms - trajectory.executor_ms, self.wall_ms_left())
        if left_ms < 1:
            return self.ended(pb.STATUS_TIME_BUDGET)
        self.tell(snippet=pb.SnippetStarted(code=self.code, usage=self.usage_since_snippet()))
        try:
            async with asyncio.timeout_at(self.deadline):  # also over the wait for an executor
                result = await self.run_snippet(int(min(self.budget.snippet_ms, left_ms)))
        except TimeoutError:
            return self.ended(pb.STATUS_TIME_BUDGET)
        trajectory.append_snippet(self.code, result)
        text = result_text(result)
        self.tell(result=pb.ToolResult(text=text, result=result))
        ids = encode_tool_output(self.engine.tokenizer, text)
        if trajectory.tokens + len(ids) > self.room:
            return self.ended(pb.STATUS_TOKEN_BUDGET)
        trajectory.append_tool_output(ids, write_output(text))
        self.metrics.tool_output(len(ids))
        return LoopState.GENERATE

    async def run_snippet(self, wall_ms: int) -> executor.SnippetResult:
        if "\0" in self.code or len(self.code.encode()) > _MAX_CODE_BYTES:
            return _refused(f"a snippet may have {_MAX_CODE_BYTES} bytes, none of them NUL")
        self.loop.executing += 1
        try:
            if self.session is None:
                if self.loop.client is None:
                    raise Unavailable("the generator has no executor: start it with --executor ADDRESS")
                self.session = self.loop.client.session(self.sampling.seed or 0, on_note=self.note)
            limits = executor.Limits(wall_ms=wall_ms, output_bytes=self.loop.tool_output_bytes)
            return await self.ask_executor(self.session, limits)
        finally:
            self.loop.executing -= 1

    async def ask_executor(self, session: ExecutorSession, limits: executor.Limits) -> executor.SnippetResult:
        losses = session.losses
        with tracing.span("snippet", kind="client") as span, self.metrics.snippet():
            try:
                result = await session.run(self.code, limits)
            except DeepMathError:
                self.metrics.failed(session.losses - losses)
                raise
            self.metrics.ran(result, session.losses - losses)
            span.set(outcome=executor.Outcome.Name(result.outcome).removeprefix("OUTCOME_").lower())
        return result

    def ended(self, status: pb.Status.ValueType) -> pb.Status.ValueType:
        """Return `status`, unless there is an answer: it counts whatever ended the trajectory after it."""
        turn_ended = status == pb.STATUS_NO_ANSWER  # then even a box within unfinished thought is no draft
        answer = self.trajectory.answer if turn_ended else self.trajectory.settled_answer
        return pb.STATUS_ANSWERED if answer else status

    def wall_ms_left(self) -> float:
        return (self.deadline - asyncio.get_running_loop().time()) * 1000

    def note(self, text: str) -> None:
        self.trajectory.notes.append(text)
        self.tell(note=pb.Note(text=text))

    def text_events(self) -> Callable[[list[int]], None]:
        """Return a receiver of token ids that tells their text, each character once it is whole."""
        stream, backend = DecodeStream(skip_special_tokens=False), self.engine.tokenizer.backend_tokenizer

        def on_tokens(token_ids: list[int]) -> None:
            texts = (stream.step(backend, token) for token in token_ids)
            if text := "".join(text for text in texts if text):
                self.tell(text=pb.TextDelta(text=text))

        return on_tokens

    def usage_since_snippet(self) -> pb.Usage:
        before, self.told = self.told, self.trajectory.usage
        return pb.Usage(
            input_tokens=self.told.input_tokens - before.input_tokens,
            output_tokens=self.told.output_tokens - before.output_tokens,
        )

    def tell(self, **event: pb.TextDelta | pb.SnippetStarted | pb.ToolResult | pb.Note) -> None:
        if self.emit:
            self.emit(pb.SolveResponse(**event))  # type: ignore[arg-type]


def _refused(reason: str) -> executor.SnippetResult:
    """Return the result of a snippet that no executor takes, and by the model's own doing."""
    exception = executor.SnippetException(type="ValueError", message=reason)
    return executor.SnippetResult(outcome=executor.OUTCOME_EXCEPTION, exception=exception)
