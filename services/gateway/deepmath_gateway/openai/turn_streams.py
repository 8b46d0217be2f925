"""Turns of the generator as a stream of events: `Solve` for the agent, a `Chat` for each choice of plain chat."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from deepmath.clients import GeneratorClient
from deepmath.dialects import known_dialect
from deepmath.errors import Forbidden, InvalidRequest, Unauthenticated, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_gateway.openai.choice_text import ChoiceText
from deepmath_gateway.openai.served_models import ServedModel
from deepmath_gateway.openai.turn_events import (
    CodeEnded,
    CodeStarted,
    Finish,
    FunctionCalled,
    TurnEnded,
    TurnEvent,
    TurnStarted,
)
from deepmath_gateway.openai.turn_request import TurnRequest
from deepmath_gateway.openai.turn_tokens import TurnTokens

Item = TypeVar("Item")

_SEED_LIMIT = 1 << 63
_ENDS_OF_BUDGETS = (pb.STATUS_TOKEN_BUDGET, pb.STATUS_STEP_BUDGET, pb.STATUS_TIME_BUDGET)


async def turn_events(
    generator: GeneratorClient, model: ServedModel, request: TurnRequest
) -> AsyncGenerator[TurnEvent]:
    """Yield the events of all choices. Leaving the iterator early cancels the generator's calls.

    Raises:
        InvalidRequest: The generator rejects the request.
        Overloaded: It has no capacity.
        Unavailable: It cannot be reached, or a turn failed for reasons of infrastructure.
    """
    try:
        async with aclosing(_events(generator, model, request)) as events:
            async for event in events:
                yield event
    except (Unauthenticated, Forbidden) as error:  # the gateway is not permitted, which is not its client's fault
        raise Unavailable(f"the generator refuses the gateway: {error}") from None


def _events(generator: GeneratorClient, model: ServedModel, request: TurnRequest) -> AsyncGenerator[TurnEvent]:
    if model.mode == "agent":
        return _agent_events(generator, model, request)
    # Each is a call of its own. A generator of an earlier version reports 0.
    if 0 < (most := model.info.maximum_admitted) < request.choices:
        raise InvalidRequest(f"n is {request.choices}: this generator writes and queues {most} choices at most")
    choices = [_chat_events(generator, model, request, choice) for choice in range(request.choices)]
    return choices[0] if len(choices) == 1 else merged(choices)


async def _agent_events(
    generator: GeneratorClient, model: ServedModel, request: TurnRequest
) -> AsyncGenerator[TurnEvent]:
    marks, thinking = known_dialect(model.info.dialect).marks, model.info.thinking
    texts = [ChoiceText(choice, marks, thinking, request.stop) for choice in range(request.choices)]
    *context, question = request.messages
    responses: Any = generator.solve(
        question.content,
        samples=request.choices,
        sampling=request.sampling,
        budget=pb.Budget(max_tokens=request.token_limit),
        context=context,
        stop_sequences=request.stop,
        token_texts=request.token_texts,
        omit_vote=True,
    )
    started = set[int]()
    async with aclosing(responses):
        async for response in responses:
            choice = response.sample
            if choice not in started:
                started.add(choice)
                yield TurnStarted(choice)
            match response.WhichOneof("event"):
                case "text":
                    for event in texts[choice].feed(response.text.text):
                        yield event
                case "snippet":
                    for event in texts[choice].pause():
                        yield event
                    yield CodeStarted(choice, response.snippet.code)
                case "result":
                    texts[choice].resume(thinking=response.result.thinking)
                    yield CodeEnded(choice, response.result.text, response.result.result)
                case "trajectory":
                    for event in texts[choice].end():
                        yield event
                    tokens = TurnTokens(
                        response.trajectory.prompt_token_ids, response.trajectory.segments, marks, thinking
                    )
                    if request.token_texts:
                        await tokens.count()
                    yield _trajectory_end(choice, response.trajectory, tokens)


def _trajectory_end(choice: int, trajectory: pb.Trajectory, tokens: TurnTokens) -> TurnEnded:
    if trajectory.status == pb.STATUS_INFRASTRUCTURE_FAILED:
        notes = "; ".join(trajectory.notes) or "no reason is known"
        raise Unavailable(f"the agent's infrastructure failed, which says nothing about its answer: {notes}")
    finish: Finish = "length" if trajectory.status in _ENDS_OF_BUDGETS else "stop"
    status = pb.Status.Name(trajectory.status).removeprefix("STATUS_").lower()
    return TurnEnded(choice, finish, tokens, status, trajectory.answer)


async def _chat_events(
    generator: GeneratorClient, model: ServedModel, request: TurnRequest, choice: int
) -> AsyncGenerator[TurnEvent]:
    text = ChoiceText(choice, None, model.info.thinking)
    sampling = pb.Sampling()
    sampling.CopyFrom(request.sampling)
    if sampling.HasField("seed"):
        sampling.seed = (sampling.seed + choice) % _SEED_LIMIT if sampling.seed >= 0 else sampling.seed
    responses: Any = generator.chat(
        request.messages,
        sampling=sampling,
        max_tokens=request.token_limit,
        stop_sequences=request.stop,
        functions=request.functions,
        token_texts=request.token_texts,
    )
    started = called = False
    async with aclosing(responses):
        async for response in responses:
            if not started:
                started = True
                yield TurnStarted(choice)
            match response.WhichOneof("event"):
                case "text":
                    for event in text.feed(response.text.text):
                        yield event
                case "call":
                    called = True
                    call = response.call
                    yield FunctionCalled(choice, call.id, call.name, call.arguments_json)
                case "end":
                    for event in text.end():
                        yield event
                    end = response.end
                    tokens = TurnTokens(end.prompt_token_ids, [end.segment], None, model.info.thinking)
                    if request.token_texts:
                        await tokens.count()
                    yield _chat_end(choice, end, tokens, called)


def _chat_end(choice: int, end: pb.ChatEnd, tokens: TurnTokens, called: bool) -> TurnEnded:
    finish: Finish = "length" if end.reason == pb.ChatEnd.REASON_LENGTH else "tool_calls" if called else "stop"
    status = pb.ChatEnd.Reason.Name(end.reason).removeprefix("REASON_").lower()
    return TurnEnded(choice, finish, tokens, status)


async def merged(streams: Sequence[AsyncGenerator[Item]]) -> AsyncGenerator[Item]:
    """Yield the items of all streams as they come. The first failure ends all of them, and is raised."""
    received: asyncio.Queue[Item | BaseException | None] = asyncio.Queue()

    async def read(stream: AsyncGenerator[Item]) -> None:
        try:
            async with aclosing(stream):
                async for item in stream:
                    received.put_nowait(item)
        except Exception as error:
            received.put_nowait(error)
        received.put_nowait(None)

    tasks = [asyncio.create_task(read(stream)) for stream in streams]
    try:
        left = len(tasks)
        while left:
            item = await received.get()
            if isinstance(item, BaseException):
                raise item
            if item is None:
                left -= 1
            else:
                yield item
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
