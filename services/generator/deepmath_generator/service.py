"""gRPC service of the generator: `deepmath.generator.v1.GeneratorService`."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, nullcontext
from functools import partial
from typing import Any, get_args

import grpc

from deepmath import __version__
from deepmath.clients import ExecutorClient
from deepmath.dialects.function_calls import FunctionCallForm, function_call_form
from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.generator.v1 import generator_pb2_grpc as rpc
from deepmath.observability import request_id, tracing
from deepmath_generator.admission import TrajectoryAdmission
from deepmath_generator.agent_loop import AgentLoop
from deepmath_generator.answer_vote import AnswerVote
from deepmath_generator.chat_frame import opens_thinking, render_chat
from deepmath_generator.chat_prompt import encode_chat
from deepmath_generator.chat_validation import check_chat, check_context
from deepmath_generator.config import GeneratorConfig
from deepmath_generator.executor_reachability import ExecutorReachability
from deepmath_generator.function_call_reader import FunctionCallReader
from deepmath_generator.generation_config import recommended_sampling
from deepmath_generator.inference_engine import FinishReason, InferenceEngine, SampledTokens
from deepmath_generator.metrics import GeneratorMetrics
from deepmath_generator.model_dialect import model_dialect
from deepmath_generator.policy_updates import PolicyUpdates
from deepmath_generator.policy_versions import Policy
from deepmath_generator.prompt_template import Mode, PromptTemplate
from deepmath_generator.request_validation import (
    check_prompt_length,
    check_prompts,
    check_question,
    checked_max_tokens,
    checked_mode,
    checked_run,
    checked_samples,
    checked_stop_sequences,
)
from deepmath_generator.response_stream import Send, stream_responses
from deepmath_generator.responsive_loop import ResponsiveLoop
from deepmath_generator.sampling_options import SamplingOptions
from deepmath_generator.token_decoder import TokenDecoder
from deepmath_generator.token_texts import add_token_texts
from deepmath_generator.trajectory_budget import TrajectoryBudget
from deepmath_generator.trajectory_events import Emit

SERVICE_NAME = pb.DESCRIPTOR.services_by_name["GeneratorService"].full_name

_DECODED_CHARACTERS = 8  # decoding a token on its own takes as long as the work for about so many characters

_CHAT_END_REASONS: dict[FinishReason, pb.ChatEnd.Reason.ValueType] = {
    FinishReason.END_OF_TURN: pb.ChatEnd.REASON_END_OF_TURN,
    FinishReason.STOP_SEQUENCE: pb.ChatEnd.REASON_STOP_SEQUENCE,
    FinishReason.LENGTH: pb.ChatEnd.REASON_LENGTH,
}


class GeneratorServicer(rpc.GeneratorServiceServicer):
    """Trajectories (Solve, Rollout), chat turns (Chat) and policy updates (UpdateAdapter, LoadCheckpoint)."""

    def __init__(
        self,
        config: GeneratorConfig,
        engine: InferenceEngine,
        client: ExecutorClient | None,
        template: PromptTemplate,
        metrics: GeneratorMetrics | None = None,
    ) -> None:
        self._engine, self._template = engine, template
        self._dialect = dialect = model_dialect(engine.tokenizer, engine.model, config.dialect, template.dialect)
        for mode in get_args(Mode):
            template.encode(engine.tokenizer, "1", mode, dialect)  # rejects the chat template now, and not at a request
        self._function_form, self._functions_failure = _function_form(engine.tokenizer)
        self._opens_thinking = opens_thinking(engine.tokenizer)
        self._metrics = metrics or GeneratorMetrics()
        self._responsive = ResponsiveLoop()
        self._loop = AgentLoop(engine, client, config.tool_output_bytes, self._metrics, self._responsive, dialect)
        self._sampling, self._budget = (
            SamplingOptions.default(config, recommended_sampling(engine.generation_config)),
            TrajectoryBudget.default(config),
        )
        self._admission = TrajectoryAdmission(config.max_trajectories, config.max_waiting)
        self._updates = PolicyUpdates(config, engine)
        self._executors = ExecutorReachability(client)
        self._vote = AnswerVote(config.vote_seconds)
        self._metrics.expose_state(self._admission, engine.policies, lambda: self._loop.executing)
        self._metrics.expose_engine(engine.statistics)

    def register(self, server: grpc.aio.Server) -> None:
        """Add this servicer to `server`."""
        rpc.add_GeneratorServiceServicer_to_server(self, server)

    def close(self) -> None:
        """Stop the processes that votes have started."""
        self._vote.close()

    async def Solve(self, request: pb.SolveRequest, context: Any) -> AsyncIterator[pb.SolveResponse]:
        """Stream the events of `samples` trajectories, then the vote."""
        samples, mode = checked_samples(request.samples), checked_mode(request.mode)
        sampling, budget = self._sampling.override(request.sampling), self._budget.override(request.budget)
        stop = checked_stop_sequences(request.stop_sequences)
        check_question("question", request.question)
        size = len(request.question) + check_context("context", request.context)

        async def solve(send: Send[pb.SolveResponse]) -> None:
            async def run(sample: int) -> str:
                emit = _numbered(send, sample)
                with _trajectory_span(samples == 1, mode, sample) as span:
                    trajectory = await self._run(prompt_ids, mode, sampling.for_sample(sample), budget, emit, stop=stop)
                    _set_attributes(span, trajectory)
                if request.token_texts:
                    await self._add_token_texts(trajectory.prompt_token_ids, trajectory.segments)
                emit(pb.SolveResponse(trajectory=trajectory))
                return trajectory.answer

            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(run(sample)) for sample in range(samples)]
            if not request.omit_vote:
                send(pb.SolveResponse(vote=await self._vote.vote([task.result() for task in tasks])))

        with self._admission.admit(samples):
            prompt_ids = await self._encode("question", request.question, mode, size, request.context)
            async for event in stream_responses(solve, context):
                yield event

    async def Rollout(self, request: pb.RolloutRequest, context: Any) -> AsyncIterator[pb.RolloutResponse]:
        """Stream one trajectory per prompt, in the order in which they end."""
        check_prompts(request.prompts)
        mode = checked_mode(request.mode)
        sampling, budget = self._sampling.override(request.sampling), self._budget.override(request.budget)
        options = [_prompt_options(prompt, index, sampling) for index, prompt in enumerate(request.prompts)]
        questions = {f"prompts[{index}].question": prompt.question for index, prompt in enumerate(request.prompts)}
        for field, question in questions.items():
            check_question(field, question)
        size = sum(map(len, questions.values()))
        for index, prompt in enumerate(request.prompts):
            size += check_context(f"prompts[{index}].context", prompt.context)
        prompts: list[list[int]] = []

        async def roll_out(send: Send[pb.RolloutResponse]) -> None:
            async def run(index: int, prompt_ids: list[int], options: SamplingOptions) -> None:
                with _trajectory_span(len(prompts) == 1, mode, index) as span:
                    trajectory = await self._run(prompt_ids, mode, options, budget, policy=policy)
                    _set_attributes(span, trajectory)
                send(pb.RolloutResponse(prompt_index=index, id=request.prompts[index].id, trajectory=trajectory))

            async with asyncio.TaskGroup() as group:
                for index, prompt_ids in enumerate(prompts):
                    group.create_task(run(index, prompt_ids, options[index]))

        with self._admission.admit(len(request.prompts)):
            async with self._policy_of(request) as policy:
                for prompt, (field, question) in zip(request.prompts, questions.items(), strict=True):
                    prompts.append(await self._encode(field, question, mode, size, prompt.context))
                async for response in stream_responses(roll_out, context):
                    yield response

    async def Chat(self, request: pb.ChatRequest, context: Any) -> AsyncIterator[pb.ChatResponse]:
        """Stream the assistant's next turn, then the reason for its end."""
        sampling, stop = self._sampling.override(request.sampling), checked_stop_sequences(request.stop_sequences)
        max_tokens = checked_max_tokens(request, self._budget.max_step_tokens)
        size, context_length = check_chat(request.messages, request.functions), self._engine.context_length
        calls = self._call_reader(request.functions)

        async def chat(send: Send[pb.ChatResponse]) -> None:
            def on_text(text: str) -> None:
                for event in calls.feed(text) if calls else (pb.ChatResponse(text=pb.TextDelta(text=text)),):
                    send(event)

            async with self._metrics.slot(self._admission):
                with tracing.span("chat", context_tokens=len(prompt_ids)) as span, self._metrics.segment_time():
                    sample = await self._engine.generate(
                        prompt_ids,
                        sampling,
                        max_tokens=min(max_tokens, context_length - len(prompt_ids)),
                        seed=sampling.seed,
                        stop=stop,
                        on_text=self._metrics.first_token_time(on_text),
                    )
                    tokens = len(sample.token_ids)
                    span.set(tokens=tokens, finish=sample.finish.value, policy_version=sample.policy_version)
            self._metrics.record_sampled_tokens(tokens)
            for event in calls.end() if calls else ():
                send(event)
            end = await self._responsive.process(lambda: self._chat_end(prompt_ids, sample, sampling), tokens)
            if request.token_texts:
                await self._add_token_texts(prompt_ids, [end.segment])
            send(pb.ChatResponse(end=end))

        with self._admission.admit(1):
            encode = partial(encode_chat, self._engine.tokenizer, request.messages, request.functions)
            prompt_ids = await self._responsive.process(encode, size)
            check_prompt_length("messages", prompt_ids, context_length, "a turn")
            async for event in stream_responses(chat, context):
                yield event

    async def UpdateAdapter(
        self, request_iterator: AsyncIterator[pb.UpdateAdapterRequest], context: Any
    ) -> pb.UpdateAdapterResponse:
        """Receive an adapter and sample new segments with it."""
        return pb.UpdateAdapterResponse(policy_version=await self._updates.update_adapter(request_iterator))

    async def LoadCheckpoint(self, request: pb.LoadCheckpointRequest, context: Any) -> pb.LoadCheckpointResponse:
        """Load all weights from a directory and sample all segments with them."""
        await self._updates.load_checkpoint(request.policy_version, request.directory, request.run)
        return pb.LoadCheckpointResponse(policy_version=request.policy_version)

    async def GetInfo(self, request: pb.GetInfoRequest, context: Any) -> pb.GetInfoResponse:
        """Return the model, its policy versions, the defaults and the load."""
        policies = self._engine.policies
        return pb.GetInfoResponse(
            version=__version__,
            model=self._engine.model,
            context_length=self._engine.context_length,
            policy_version=policies.current.version,
            policy_run=policies.current.run,
            loaded_policy_versions=policies.versions,
            loaded_policies=[pb.Policy(run=policy.run, version=policy.version) for policy in policies.loaded],
            default_sampling=self._sampling.to_proto(),
            default_budget=self._budget.to_proto(),
            prompt_template=self._template.name,
            dialect=self._dialect.name,
            live_trajectories=self._admission.live,
            maximum_trajectories=self._admission.slots,
            maximum_admitted=self._admission.capacity,
            waiting_trajectories=self._admission.waiting,
            waiting_for_executor=self._loop.executing,
            max_lora_rank=self._updates.max_lora_rank,
            takes_checkpoints=self._updates.checkpoint_root is not None,
            executor_failure=await self._executors.failure(),
            thinking=self._opens_thinking,
            functions_failure=self._functions_failure,
        )

    def _call_reader(self, functions: Sequence[pb.Function]) -> FunctionCallReader | None:
        """Return a reader of calls of the functions of a request; None if it has none."""
        if not functions:
            return None
        if self._function_form is None:
            raise InvalidRequest(f"functions: {self._functions_failure}; serve a model that calls functions")
        return FunctionCallReader(self._function_form, {function.name for function in functions})

    def _chat_end(self, prompt_ids: list[int], sample: SampledTokens, sampling: SamplingOptions) -> pb.ChatEnd:
        text, decoder = TokenDecoder.after(self._engine.tokenizer, prompt_ids).decode(sample.token_ids)
        return pb.ChatEnd(
            reason=_CHAT_END_REASONS[sample.finish],
            usage=pb.Usage(input_tokens=len(prompt_ids), output_tokens=len(sample.token_ids)),
            policy_version=sample.policy_version,
            prompt_token_ids=prompt_ids,
            segment=pb.Segment(
                source=pb.Segment.SOURCE_MODEL,
                token_ids=sample.token_ids,
                logprobs=sample.logprobs,
                policy_version=sample.policy_version,
                temperature=sampling.temperature,
                text=text + decoder.rest(),
            ),
        )

    async def _add_token_texts(self, prompt_ids: Sequence[int], segments: Sequence[pb.Segment]) -> None:
        add = partial(add_token_texts, self._engine.tokenizer, prompt_ids, segments)
        await self._responsive.process(add, _DECODED_CHARACTERS * sum(len(segment.token_ids) for segment in segments))

    async def _run(
        self,
        prompt_ids: list[int],
        mode: Mode,
        sampling: SamplingOptions,
        budget: TrajectoryBudget,
        emit: Emit | None = None,
        policy: Policy | None = None,
        stop: Sequence[str] = (),
    ) -> pb.Trajectory:
        async with self._metrics.slot(self._admission):
            return await self._loop.run(prompt_ids, mode, sampling, budget, emit, policy, stop)

    def _policy_of(self, request: pb.RolloutRequest) -> AbstractAsyncContextManager[Policy | None]:
        """Return a context that holds the policy of a request; None: that of each segment is the current one."""
        if not request.HasField("policy"):
            return nullcontext()
        return self._engine.policies.hold(checked_run(request.policy.run), request.policy.version)

    async def _encode(
        self, field: str, question: str, mode: Mode, size: int, context: Sequence[pb.ChatMessage]
    ) -> list[int]:
        """Return the prompt of a question after its context; `size` is that of all prompts of the request."""
        encode = partial(self._template.encode, self._engine.tokenizer, question, mode, self._dialect, context)
        prompt_ids = await self._responsive.process(encode, size)
        check_prompt_length(field, prompt_ids, self._engine.context_length, "the solution")
        return prompt_ids


def _function_form(tokenizer: Any) -> tuple[FunctionCallForm | None, str]:
    """Return the form in which the model calls functions, or why it cannot."""
    try:
        return function_call_form(partial(render_chat, tokenizer)), ""
    except InvalidRequest as error:
        return None, str(error)


def _prompt_options(prompt: pb.RolloutPrompt, index: int, sampling: SamplingOptions) -> SamplingOptions:
    """Return the sampling options of the prompt at `index` of a request."""
    if prompt.HasField("seed"):
        return sampling.override(pb.Sampling(seed=prompt.seed))
    return sampling.for_sample(index)


def _trajectory_span(only: bool, mode: Mode, index: int) -> AbstractContextManager[tracing.Span]:
    """Return the span of a trajectory: a child of the call's if it is the only one, else the root of a linked trace."""
    request = request_id.current.get()
    return tracing.span("trajectory", new_trace=not only, request_id=request, mode=mode, index=index)


def _set_attributes(span: tracing.Span, trajectory: pb.Trajectory) -> None:
    span.set(
        status=pb.Status.Name(trajectory.status).removeprefix("STATUS_").lower(),
        segments=len(trajectory.segments),
        snippets=len(trajectory.snippets),
        model_tokens=trajectory.model_tokens,
        tool_tokens=trajectory.tool_tokens,
    )


def _numbered(send: Send[pb.SolveResponse], sample: int) -> Emit:
    """Return a sender that stamps events with their sample's index."""

    def emit(event: pb.SolveResponse) -> None:
        event.sample = sample
        send(event)

    return emit
