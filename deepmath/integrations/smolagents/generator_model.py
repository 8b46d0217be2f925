"""The generator's model, for any of smolagents' agents."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from smolagents.models import ChatMessage, ChatMessageStreamDelta, MessageRole, Model
from smolagents.monitoring import TokenUsage

from deepmath.clients import GeneratorClient
from deepmath.errors import InvalidRequest, Unavailable
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.integrations.background_loop import BackgroundLoop, BlockingStream
from deepmath.integrations.smolagents.chat_messages import as_chat
from deepmath.local_stack.stack import LocalStack, generator_options

log = logging.getLogger(__name__)

_SAMPLING = ("temperature", "top_p", "top_k", "seed")
_PARAMETERS = (*_SAMPLING, "max_tokens")


class DeepMathModel(Model):
    """The model of the generator at `address`; without one, of a local stack that this starts, half a minute or more.

    `tls` is a folder with tls.crt, tls.key and ca.crt, `token_file` a file with a token with the scope `generate`;
    without them DEEPMATH_TLS and DEEPMATH_TOKEN_FILE say which. `model` (a directory or hub name; default: the embedded
    one) and `adapter` (a directory) are what a stack of its own serves. `model_id` is the generator's word for its own.

    `parameters` are temperature, top_p, top_k, seed and max_tokens (of one answer). As in smolagents, those given here
    go before those of a call; what neither gives is the generator's default.

    It reads and writes text: no images, no response formats. Tools come in the prompt, as smolagents writes them, and
    calls are read from the answer's JSON.

    A context manager; `cleanup` ends the connection, calls in flight and the stack, and so do the end of the model and
    of the program. Threads may share it.

    Raises:
        InvalidRequest: an argument cannot be used.
        Unavailable: the generator cannot be reached, or the stack does not start.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: str | Path | None = None,
        token_file: str | Path | None = None,
        model: str | None = None,
        adapter: str | None = None,
        **parameters: Any,
    ) -> None:
        if address and (model or adapter):
            raise InvalidRequest("model and adapter are for a generator started here: leave them out, or the address")
        _sampling(parameters)
        self.address = address
        self._loop = BackgroundLoop()
        self.cleanup: Callable[[], None] = weakref.finalize(self, self._loop.close)
        try:
            self._client, info = self._loop.run(self._connect(_path(tls), _path(token_file), model, adapter))
        except BaseException:
            self.cleanup()
            raise
        super().__init__(flatten_messages_as_text=True, model_id=info.model, **parameters)

    async def _connect(
        self, tls: Path | None, token_file: Path | None, model: str | None, adapter: str | None
    ) -> tuple[GeneratorClient, pb.GetInfoResponse]:
        address = self.address
        if address is None:
            served, options = generator_options(model, adapter)
            log.warning("starting an executor and a generator on this machine; loading a model takes a while")
            stack = LocalStack(served, arguments={"generator": options})
            address = (await self._loop.hold(stack)).generator
        client = await self._loop.hold(GeneratorClient(address, tls=tls, token_file=token_file))
        return client, await client.get_info()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    @property
    def supports_stop_parameter(self) -> bool:
        """Whatever the model is called."""
        return True

    def generate(
        self,
        messages: list[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,  # noqa: ARG002 - smolagents' signature
        **parameters: Any,
    ) -> ChatMessage:
        """Return the model's answer; `raw` says why it ended (end_of_turn, stop_sequence, length).

        It ends before the first of `stop_sequences`. `tools_to_call_from` adds nothing to the messages: smolagents' own
        prompts say what there is to call.

        Raises:
            InvalidRequest: messages or parameters cannot be used, or the prompt is too long.
            Overloaded: the generator has no room.
            Unavailable: the generator cannot be reached, or has gone.
        """
        *texts, last = self._chat(messages, stop_sequences, response_format, parameters)
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content="".join(event.text.text for event in texts),
            token_usage=as_usage(last.end.usage),
            raw={"finish_reason": pb.ChatEnd.Reason.Name(last.end.reason).removeprefix("REASON_").lower()},
        )

    def generate_stream(
        self,
        messages: list[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,  # noqa: ARG002 - as in `generate`
        **parameters: Any,
    ) -> Generator[ChatMessageStreamDelta, None, None]:
        """Yield the answer while it is written; the last delta has the token usage. The rest is as in `generate`."""
        for event in self._chat(messages, stop_sequences, response_format, parameters):
            usage = as_usage(event.end.usage) if event.HasField("end") else None
            yield ChatMessageStreamDelta(content=event.text.text, token_usage=usage)

    def solve(self, question: str, budget: pb.Budget | None = None) -> BlockingStream[pb.SolveResponse]:
        """Have the generator's own agent loop solve `question`; return its events, to be closed after use.

        Of the parameters, sampling counts here; what may be used is in `budget`. The events raise as `generate` does.
        """
        return self._loop.iterate(self._client.solve(question, sampling=_sampling(self.kwargs), budget=budget), self)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes the same model of, but for `tls`, `token_file` and what a stack serves."""
        return {"model_id": self.model_id, "address": self.address, **self.kwargs}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> Self:
        """Return the model that `to_dict` told of."""
        return cls(**{name: value for name, value in model_dictionary.items() if name != "model_id"})

    def _chat(
        self,
        messages: list[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None,
        response_format: dict[str, str] | None,
        parameters: dict[str, Any],
    ) -> Iterator[pb.ChatResponse]:
        if response_format is not None:
            raise InvalidRequest(
                "the generator takes no response_format; use agents without use_structured_outputs_internally"
            )
        parameters = parameters | self.kwargs
        call = self._client.chat(
            as_chat(messages),
            sampling=_sampling(parameters),
            max_tokens=parameters.get("max_tokens"),
            stop_sequences=stop_sequences or (),
        )
        with closing(self._loop.iterate(call, self)) as events:
            event = None
            for event in events:
                yield event
        if event is None or not event.HasField("end"):
            raise Unavailable("the generator left its answer unfinished")


def as_usage(usage: pb.Usage) -> TokenUsage:
    """Return the generator's usage as smolagents has it."""
    return TokenUsage(usage.input_tokens, usage.output_tokens)


def _sampling(parameters: dict[str, Any]) -> pb.Sampling:
    if unknown := sorted(parameters.keys() - _PARAMETERS):
        raise InvalidRequest(f"DeepMathModel has no {', '.join(unknown)}; it takes {', '.join(_PARAMETERS)}")
    try:
        pb.ChatRequest(max_tokens=parameters.get("max_tokens"))
        return pb.Sampling(**{name: parameters.get(name) for name in _SAMPLING})
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{', '.join(f'{n}={v!r}' for n, v in parameters.items())}: {error}") from error


def _path(path: str | Path | None) -> Path | None:
    return Path(path) if path else None
