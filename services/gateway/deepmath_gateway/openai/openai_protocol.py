"""OpenAI's API as a protocol of the gateway."""

import asyncio
import json
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from deepmath.clients import GeneratorClient
from deepmath_gateway.event_stream import EventStream
from deepmath_gateway.http_protocol import HttpProtocol
from deepmath_gateway.openai.chat_completions import ChatCompletion
from deepmath_gateway.openai.completion_request import ChatCompletionRequest
from deepmath_gateway.openai.openai_errors import error_form
from deepmath_gateway.openai.responses import ModelResponse
from deepmath_gateway.openai.responses_request import ResponsesRequest
from deepmath_gateway.openai.served_models import ServedModel, ServedModels, UnknownModel
from deepmath_gateway.openai.turn_events import TurnEvent
from deepmath_gateway.openai.turn_request import TurnRequest
from deepmath_gateway.openai.turn_streams import turn_events
from deepmath_gateway.protocol_errors import HttpRefusal


def openai_protocol(generator: GeneratorClient) -> HttpProtocol:
    """Return OpenAI's API in front of a generator."""
    return HttpProtocol("openai", ("generate",), _router(generator), error_form)


def _router(generator: GeneratorClient) -> APIRouter:
    api = APIRouter(prefix="/v1")
    models = ServedModels(generator)

    def events(model: ServedModel, turns: TurnRequest) -> AsyncGenerator[TurnEvent]:
        turns.check(model)
        return turn_events(generator, model, turns)

    @api.get("/models")
    async def list_models() -> Response:
        return JSONResponse({"object": "list", "data": await models.cards()})

    @api.get("/models/{name:path}")
    async def describe_model(name: str) -> Response:
        cards = await models.cards()
        for card in cards:
            if card["id"] == name:
                return JSONResponse(card)
        raise UnknownModel(name, cards[-1]["id"])

    @api.post("/chat/completions")
    async def create_completion(request: ChatCompletionRequest) -> Response:
        model = await models.find(request.model)
        completion, turns = ChatCompletion(request, model), events(model, request.to_turns())
        if request.stream:
            return await EventStream.start(completion.stream(turns))
        return await _json_by_choices(await completion.collect(turns))

    @api.post("/responses")
    async def create_response(request: ResponsesRequest) -> Response:
        model = await models.find(request.model)
        response, turns = ModelResponse(request), events(model, request.to_turns(model))
        if request.stream:
            return await EventStream.start(response.stream(turns))
        return JSONResponse(await response.collect(turns))

    @api.get("/responses/{response_id}")
    async def read_response(response_id: str) -> Response:
        del response_id
        raise HttpRefusal(HTTPStatus.NOT_FOUND, "responses are not stored; send the whole conversation as input")

    return api


async def _json_by_choices(completion: dict[str, Any]) -> Response:
    """Return a completion as JSON. The event loop is free between the choices, which may have 20 000 tokens each."""
    choices = []
    for choice in completion["choices"]:
        choices.append(_dumps(choice))
        await asyncio.sleep(0)
    rest = _dumps({name: value for name, value in completion.items() if name != "choices"})
    return Response(f'{rest[:-1]},"choices":[{",".join(choices)}]}}', media_type="application/json")


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
