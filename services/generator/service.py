"""The generator's contract: requests are checked here, trajectories run in the loop."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

import grpc

from deepmath import __version__
from deepmath.clients import ExecutorClient
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc
from deepmath.grading import majority
from services.generator.admission import Admission
from services.generator.budget import Budget
from services.generator.config import GeneratorConfig
from services.generator.engine import Engine
from services.generator.loop import AgentLoop, Emit
from services.generator.policy_changes import PolicyChanges
from services.generator.prompt import Mode, PromptTemplate
from services.generator.sampling import Sampling

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name

_MAX_QUESTION_BYTES = 64 << 10
_MAX_SAMPLES = 1024
_MAX_PROMPTS = 4096
_MAX_ID_BYTES = 128

_MODES: dict[pb.Mode.ValueType, Mode] = {
    pb.MODE_UNSPECIFIED: "agent",
    pb.MODE_AGENT: "agent",
    pb.MODE_PLAIN: "plain",
}

Message = TypeVar("Message")
Send = Callable[[Message], None]


class GeneratorServicer(rpc.GeneratorServiceServicer):
    """Solve, Rollout and GetInfo over one agent loop, and the changes of its policy."""

    def __init__(
        self, config: GeneratorConfig, engine: Engine, client: ExecutorClient | None, template: PromptTemplate
    ) -> None:
        self._engine, self._template = engine, template
        self._loop = AgentLoop(engine, client, config.tool_output_bytes)
        self._sampling, self._budget = Sampling.default(config), Budget.default(config)
        self._admission = Admission(config.max_trajectories, config.max_waiting)
        self._changes = PolicyChanges(config, engine)

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
                trajectory = await self._run(prompt_ids, mode, sampling.seeded(sample), budget, emit)
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
            async def one(index: int, prompt_ids: list[int], seeded: Sampling) -> None:
                trajectory = await self._run(prompt_ids, mode, seeded, budget)
                send(pb.RolloutResponse(prompt_index=index, id=request.prompts[index].id, trajectory=trajectory))

            async with asyncio.TaskGroup() as group:
                for index, (prompt_ids, seeded) in enumerate(prompts):
                    group.create_task(one(index, prompt_ids, seeded))

        with self._admission.admit(len(prompts)):
            async for response in _stream(work, context):
                yield response

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
            waiting_for_executor=self._loop.executing,
            max_lora_rank=self._changes.max_lora_rank,
            takes_checkpoints=self._changes.checkpoint_root is not None,
        )

    async def _run(
        self, prompt_ids: list[int], mode: Mode, sampling: Sampling, budget: Budget, emit: Emit | None = None
    ) -> pb.Trajectory:
        async with self._admission.slot():
            return await self._loop.run(prompt_ids, mode, sampling, budget, emit)

    def _prompt(
        self, index: int, prompt: pb.RolloutPrompt, mode: Mode, sampling: Sampling
    ) -> tuple[list[int], Sampling]:
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
        ids = self._template.encode(self._engine.tokenizer, question, mode)
        if len(ids) >= self._engine.context_length:
            raise InvalidRequest(
                f"{field} makes a prompt of {len(ids)} tokens, and the model's context holds "
                f"{self._engine.context_length} with the solution; shorten it or serve a model with a longer context"
            )
        return ids


def _mode(mode: pb.Mode.ValueType) -> Mode:
    if mode not in _MODES:
        raise InvalidRequest(f"mode {mode} is not known; take MODE_AGENT or MODE_PLAIN")
    return _MODES[mode]


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
    counts = majority(answers)
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
