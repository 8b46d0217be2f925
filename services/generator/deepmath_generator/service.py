"""The generator's contract: requests are checked here, trajectories run in the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc

from deepmath import __version__
from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc
from deepmath.grading.vote_tally import tally_votes
from deepmath.observability import request_id, tracing
from deepmath_generator.admission import TrajectoryAdmission
from deepmath_generator.agent_loop import AgentLoop, Emit
from deepmath_generator.agent_prompt import Mode, PromptTemplate
from deepmath_generator.chat_prompt import encode_conversation
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.policy_updates import PolicyUpdates
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.trajectory_budget import TrajectoryBudget
from deepmath_generator.vllm_engine import Finish, VllmEngine

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name

_MAX_QUESTION_BYTES = 64 << 10
_MAX_SAMPLES = 1024
_MAX_PROMPTS = 4096
_MAX_ID_BYTES = 128
_MAX_STOP_SEQUENCES = 16
_MAX_STOP_BYTES = 256

_MODES: dict[pb.Mode.ValueType, Mode] = {
    pb.MODE_UNSPECIFIED: "agent",
    pb.MODE_AGENT: "agent",
    pb.MODE_PLAIN: "plain",
}

_REASONS: dict[Finish, pb.ChatEnd.Reason.ValueType] = {
    Finish.END_OF_TURN: pb.ChatEnd.REASON_END_OF_TURN,
    Finish.STOP_SEQUENCE: pb.ChatEnd.REASON_STOP_SEQUENCE,
    Finish.LENGTH: pb.ChatEnd.REASON_LENGTH,
}

Message = TypeVar("Message")
Send = Callable[[Message], None]


class GeneratorServicer(rpc.GeneratorServiceServicer):
    """Solve, Rollout and GetInfo over one agent loop, Chat past it, and the changes of its policy."""

    def __init__(
        self,
        config: GeneratorConfig,
        engine: VllmEngine,
        client: ExecutorClient | None,
        template: PromptTemplate,
        metrics: GeneratorMetrics | None = None,
    ) -> None:
        self._engine, self._template = engine, template
        self._metrics = metrics or GeneratorMetrics()
        self._loop = AgentLoop(engine, client, config.tool_output_bytes, self._metrics)
        self._sampling, self._budget = SamplingOptions.default(config), TrajectoryBudget.default(config)
        self._admission = TrajectoryAdmission(config.max_trajectories, config.max_waiting)
        self._changes = PolicyUpdates(config, engine)
        self._metrics.watch_state(self._admission, engine.policies, lambda: self._loop.executing)

    def register(self, server: grpc.aio.Server) -> None:
        """Add this servicer to `server`."""
        rpc.add_GeneratorServiceServicer_to_server(self, server)

    async def Solve(self, request: pb.SolveRequest, context: Any) -> AsyncIterator[pb.SolveResponse]:
        """Stream the events of `samples` trajectories, then the vote."""
        samples = _within("samples", request.samples or 1, _MAX_SAMPLES)
        mode = _mode(request.mode)
        sampling, budget = self._sampling.merged(request.sampling), self._budget.merged(request.budget)
        prompt_ids = self._encode("question", request.question, mode)

        async def work(send: Send[pb.SolveResponse]) -> None:
            async def one(sample: int) -> str:
                emit = _numbered(send, sample)
                with _span(samples == 1, mode, sample) as span:
                    trajectory = await self._run(prompt_ids, mode, sampling.seeded(sample), budget, emit)
                    _describe(span, trajectory)
                emit(pb.SolveResponse(trajectory=trajectory))
                return trajectory.answer

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(sample)) for sample in range(samples)]
            send(pb.SolveResponse(vote=_vote([task.result() for task in tasks])))

        with self._admission.admit(samples):
            async for event in _stream(work, context):
                yield event

    async def Rollout(self, request: pb.RolloutRequest, context: Any) -> AsyncIterator[pb.RolloutResponse]:
        """Stream the trajectory of each prompt when it ends."""
        _within("prompts", len(request.prompts), _MAX_PROMPTS)
        mode = _mode(request.mode)
        sampling, budget = self._sampling.merged(request.sampling), self._budget.merged(request.budget)
        prompts = [self._prompt(index, prompt, mode, sampling) for index, prompt in enumerate(request.prompts)]

        async def work(send: Send[pb.RolloutResponse]) -> None:
            async def one(index: int, prompt_ids: list[int], seeded: SamplingOptions) -> None:
                with _span(len(prompts) == 1, mode, index) as span:
                    trajectory = await self._run(prompt_ids, mode, seeded, budget)
                    _describe(span, trajectory)
                send(pb.RolloutResponse(prompt_index=index, id=request.prompts[index].id, trajectory=trajectory))

            async with asyncio.TaskGroup() as group:
                for index, (prompt_ids, seeded) in enumerate(prompts):
                    group.create_task(one(index, prompt_ids, seeded))

        with self._admission.admit(len(prompts)):
            async for response in _stream(work, context):
                yield response

    async def Chat(self, request: pb.ChatRequest, context: Any) -> AsyncIterator[pb.ChatResponse]:
        """Stream the next turn of the assistant, then why it ended."""
        sampling, stop = self._sampling.merged(request.sampling), _stop_sequences(request.stop_sequences)
        most = request.max_tokens if request.HasField("max_tokens") else self._budget.max_step_tokens
        if most < 1:
            raise InvalidRequest(f"max_tokens is {most}; it must be at least 1. Leave it out for the default.")
        prompt_ids = self._fitting("messages", encode_conversation(self._engine.tokenizer, request.messages), "a turn")

        async def work(send: Send[pb.ChatResponse]) -> None:
            def on_text(text: str) -> None:
                send(pb.ChatResponse(text=pb.TextDelta(text=text)))

            async with self._metrics.queueing(self._admission):
                with tracing.span("chat", context_tokens=len(prompt_ids)) as span, self._metrics.segment():
                    sample = await self._engine.generate(
                        prompt_ids,
                        sampling,
                        max_tokens=min(most, self._engine.context_length - len(prompt_ids)),
                        tools=False,
                        seed=sampling.seed,
                        stop=stop,
                        on_text=self._metrics.on_first(on_text),
                    )
                    tokens = len(sample.token_ids)
                    span.set(tokens=tokens, finish=sample.finish.value, policy_version=sample.policy_version)
            self._metrics.sampled(tokens)
            usage = pb.Usage(input_tokens=len(prompt_ids), output_tokens=tokens)
            end = pb.ChatEnd(reason=_REASONS[sample.finish], usage=usage, policy_version=sample.policy_version)
            send(pb.ChatResponse(end=end))

        with self._admission.admit(1):
            async for event in _stream(work, context):
                yield event

    async def UpdateAdapter(
        self, request_iterator: AsyncIterator[pb.UpdateAdapterRequest], context: Any
    ) -> pb.UpdateAdapterResponse:
        """Take an adapter and serve it to new segments."""
        return pb.UpdateAdapterResponse(policy_version=await self._changes.update_adapter(request_iterator))

    async def LoadCheckpoint(self, request: pb.LoadCheckpointRequest, context: Any) -> pb.LoadCheckpointResponse:
        """Read all weights again and serve them to all segments."""
        await self._changes.load_checkpoint(request.policy_version, request.directory)
        return pb.LoadCheckpointResponse(policy_version=request.policy_version)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:
        """Say what this generator is and does."""
        return pb.GetInfoResponse(
            version=__version__,
            model=self._engine.model,
            context_length=self._engine.context_length,
            policy_version=self._engine.policies.current.version,
            loaded_policy_versions=self._engine.policies.versions,
            default_sampling=self._sampling.message(),
            default_budget=self._budget.message(),
            prompt_template=self._template.name,
            live_trajectories=self._admission.live,
            maximum_trajectories=self._admission.slots,
            waiting_trajectories=self._admission.waiting,
            waiting_for_executor=self._loop.executing,
            max_lora_rank=self._changes.max_lora_rank,
            takes_checkpoints=self._changes.checkpoint_root is not None,
        )

    async def _run(
        self,
        prompt_ids: list[int],
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None = None,
    ) -> pb.Trajectory:
        async with self._metrics.queueing(self._admission):
            return await self._loop.run(prompt_ids, mode, sampling, budget, emit)

    def _prompt(
        self, index: int, prompt: pb.RolloutPrompt, mode: Mode, sampling: SamplingOptions
    ) -> tuple[list[int], SamplingOptions]:
        field = f"prompts[{index}]"
        if len(prompt.id.encode()) > _MAX_ID_BYTES:
            raise InvalidRequest(f"{field}.id is longer than {_MAX_ID_BYTES} bytes")
        own = sampling.merged(pb.Sampling(seed=prompt.seed)) if prompt.HasField("seed") else sampling.seeded(index)
        return self._encode(f"{field}.question", prompt.question, mode), own

    def _encode(self, field: str, question: str, mode: Mode) -> list[int]:
        if not question.strip():
            raise InvalidRequest(f"{field} is empty; write the problem to solve")
        if (size := len(question.encode())) > _MAX_QUESTION_BYTES:
            raise InvalidRequest(f"{field} has {size} bytes; at most {_MAX_QUESTION_BYTES} are taken")
        return self._fitting(field, self._template.encode(self._engine.tokenizer, question, mode), "the solution")

    def _fitting(self, field: str, ids: list[int], answer: str) -> list[int]:
        if len(ids) >= self._engine.context_length:
            raise InvalidRequest(
                f"{field} makes a prompt of {len(ids)} tokens, and the model's context holds "
                f"{self._engine.context_length} with {answer}; shorten it or serve a model with a longer context"
            )
        return ids


def _span(alone: bool, mode: Mode, index: int) -> AbstractContextManager[tracing.Span]:
    """One trajectory is one trace: below the call where it is its only one, else apart with a link to the call."""
    request = request_id.current.get()
    return tracing.span("trajectory", new_trace=not alone, request_id=request, mode=mode, index=index)


def _describe(span: tracing.Span, trajectory: pb.Trajectory) -> None:
    span.set(
        status=pb.Status.Name(trajectory.status).removeprefix("STATUS_").lower(),
        segments=len(trajectory.segments),
        snippets=len(trajectory.snippets),
        model_tokens=trajectory.model_tokens,
        tool_tokens=trajectory.tool_tokens,
    )


def _mode(mode: pb.Mode.ValueType) -> Mode:
    if mode not in _MODES:
        raise InvalidRequest(f"mode {mode} is not known; take MODE_AGENT or MODE_PLAIN")
    return _MODES[mode]


def _stop_sequences(texts: Sequence[str]) -> list[str]:
    if len(texts) > _MAX_STOP_SEQUENCES:
        raise InvalidRequest(f"stop_sequences: {len(texts)}; at most {_MAX_STOP_SEQUENCES} are taken")
    for index, text in enumerate(texts):
        _within(f"bytes of stop_sequences[{index}]", len(text.encode()), _MAX_STOP_BYTES)
    return list(texts)


def _within(field: str, count: int, most: int) -> int:
    if not 1 <= count <= most:
        raise InvalidRequest(f"{field}: {count}; from 1 to {most} are taken")
    return count


def _numbered(send: Send[pb.SolveResponse], sample: int) -> Emit:
    def emit(event: pb.SolveResponse) -> None:
        event.sample = sample
        send(event)

    return emit


def _vote(answers: list[str]) -> pb.Vote:
    counts = tally_votes(answers)
    return pb.Vote(
        answer=counts[0][0] if counts else "",
        counts=[pb.VoteCount(answer=answer, votes=votes) for answer, votes in counts],
    )


async def _stream(work: Callable[[Send[Message]], Coroutine[Any, Any, None]], context: Any) -> AsyncIterator[Message]:
    """Yield what `work` sends. It runs as a task of its own, which the end of the call, however it comes, cancels."""
    sent: asyncio.Queue[Message | None] = asyncio.Queue()
    task = asyncio.create_task(work(sent.put_nowait))
    task.add_done_callback(lambda _: sent.put_nowait(None))
    context.add_done_callback(lambda _: task.cancel())
    while (message := await sent.get()) is not None:
        yield message
    await task
