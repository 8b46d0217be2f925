"""smolagents model served by a generator."""

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
from deepmath.integrations.smolagents.chat_messages import to_generator_messages
from deepmath.local_stack.stack import LocalStack, generator_options
from deepmath.sandbox.background_loop import BackgroundLoop, BlockingStream

log = logging.getLogger(__name__)

_SAMPLING = ("temperature", "top_p", "top_k", "seed")
_PARAMETERS = (*_SAMPLING, "max_tokens")


class DeepMathModel(Model):
    """A generator's model, for any of smolagents' agents. Threads may share it.

    It reads and writes text: no images, no response formats. smolagents' prompts describe the tools, and tool calls are
    parsed from JSON in the answer.

    A context manager. `cleanup` cancels calls in flight, closes the connection and stops the local stack; so do garbage
    collection of the model and the exit of the program.

    Args:
        address: Address of a running generator. Default: start a local stack, which takes half a minute or more.
        tls: Folder with tls.crt, tls.key and ca.crt. Default: DEEPMATH_TLS.
        token_file: File with a token of the scope `generate`. Default: DEEPMATH_TOKEN_FILE.
        model: Model directory or hub name for the local stack. Default: the embedded model.
        adapter: Directory of a LoRA adapter for the local stack.
        dialect: Name of the dialect in which `MathAgent` has the local stack's model call Python. Default: the model's.
        parameters: temperature, top_p, top_k, seed, and max_tokens of one answer. As in smolagents, those given here
            take precedence over those of a call. Default: the generator's.

    Raises:
        InvalidRequest: An argument is invalid.
        Unavailable: The generator is unreachable, or the stack does not start.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        tls: str | Path | None = None,
        token_file: str | Path | None = None,
        model: str | None = None,
        adapter: str | None = None,
        dialect: str | None = None,
        **parameters: Any,
    ) -> None:
        if address and (model or adapter or dialect):
            raise InvalidRequest(
                "model, adapter and dialect apply to a generator that is started here; leave them out, or the address"
            )
        _sampling(parameters)
        self.address = address
        self._loop = BackgroundLoop()
        self.cleanup: Callable[[], None] = weakref.finalize(self, self._loop.close)
        try:
            self._client, info = self._loop.run(self._connect(_path(tls), _path(token_file), model, adapter, dialect))
        except BaseException:
            self.cleanup()
            raise
        super().__init__(flatten_messages_as_text=True, model_id=info.model, **parameters)

    async def _connect(
        self,
        tls: Path | None,
        token_file: Path | None,
        model: str | None,
        adapter: str | None,
        dialect: str | None,
    ) -> tuple[GeneratorClient, pb.GetInfoResponse]:
        address = self.address
        if address is None:
            served, options = generator_options(model, adapter, dialect=dialect)
            log.warning(
                "starting an executor and a generator on this machine; loading a model takes half a minute or more"
            )
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
        """True, whatever the name of the model."""
        return True

    def generate(
        self,
        messages: list[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,  # noqa: ARG002 - smolagents' signature
        **parameters: Any,
    ) -> ChatMessage:
        """Return the model's answer, with its finish reason in `raw`: end_of_turn, stop_sequence or length.

        The answer ends before the first of `stop_sequences`. `tools_to_call_from` is ignored: smolagents' own prompts
        describe the tools.

        Raises:
            InvalidRequest: Messages or parameters are invalid, or the prompt is too long.
            Overloaded: The generator is at capacity.
            Unavailable: The generator is unreachable.
        """
        *texts, last = self._chat(messages, stop_sequences, response_format, parameters)
        return ChatMessage(
            role=MessageRole.ASSISTANT,
            content="".join(event.text.text for event in texts),
            token_usage=to_token_usage(last.end.usage),
            raw={"finish_reason": pb.ChatEnd.Reason.Name(last.end.reason).removeprefix("REASON_").lower()},
        )

    def generate_stream(
        self,
        messages: list[ChatMessage | dict[str, Any]],
        stop_sequences: list[str] | None = None,
        response_format: dict[str, str] | None = None,
        tools_to_call_from: list[Any] | None = None,  # noqa: ARG002 - smolagents' signature
        **parameters: Any,
    ) -> Generator[ChatMessageStreamDelta, None, None]:
        """Yield the answer as it is generated; the last delta has the token usage. Otherwise like `generate`."""
        for event in self._chat(messages, stop_sequences, response_format, parameters):
            usage = to_token_usage(event.end.usage) if event.HasField("end") else None
            yield ChatMessageStreamDelta(content=event.text.text, token_usage=usage)

    def solve(self, question: str, budget: pb.Budget | None = None) -> BlockingStream[pb.SolveResponse]:
        """Return the events of the generator's own agent loop on `question`. The caller must close the stream.

        The model's sampling parameters apply; limits come from `budget` only. Iteration raises what `generate` raises.
        """
        return self._loop.iterate(self._client.solve(question, sampling=_sampling(self.kwargs), budget=budget), self)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments for `from_dict`, except `tls`, `token_file`, `model`, `adapter` and `dialect`."""
        return {"model_id": self.model_id, "address": self.address, **self.kwargs}

    @classmethod
    def from_dict(cls, model_dictionary: dict[str, Any]) -> Self:
        """Return a model from the arguments that `to_dict` returned."""
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
                "the generator does not support response_format; use agents without use_structured_outputs_internally"
            )
        parameters = parameters | self.kwargs
        call = self._client.chat(
            to_generator_messages(messages),
            sampling=_sampling(parameters),
            max_tokens=parameters.get("max_tokens"),
            stop_sequences=stop_sequences or (),
        )
        with closing(self._loop.iterate(call, self)) as events:
            event = None
            for event in events:
                yield event
        if event is None or not event.HasField("end"):
            raise Unavailable("the generator's answer ended early")


def to_token_usage(usage: pb.Usage) -> TokenUsage:
    """Return the generator's usage as smolagents' TokenUsage."""
    return TokenUsage(usage.input_tokens, usage.output_tokens)


def _sampling(parameters: dict[str, Any]) -> pb.Sampling:
    if unknown := sorted(parameters.keys() - _PARAMETERS):
        raise InvalidRequest(
            f"unknown parameters of DeepMathModel: {', '.join(unknown)}; it has {', '.join(_PARAMETERS)}"
        )
    try:
        pb.ChatRequest(max_tokens=parameters.get("max_tokens"))
        return pb.Sampling(**{name: parameters.get(name) for name in _SAMPLING})
    except (TypeError, ValueError) as error:
        raise InvalidRequest(f"{', '.join(f'{n}={v!r}' for n, v in parameters.items())}: {error}") from error


def _path(path: str | Path | None) -> Path | None:
    return Path(path) if path else None
