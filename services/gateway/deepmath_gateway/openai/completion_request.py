"""Request of a chat completion."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deepmath_gateway.openai.message_input import (
    FunctionInput,
    MessageInput,
    SamplingInput,
    offered_functions,
    refuse_unsupported,
)
from deepmath_gateway.openai.turn_request import TurnRequest

_MOST_CHOICES = 128
_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "audio": (),
    "echo": (False,),
    "allowed_token_ids": ([],),
    "bad_words": ([],),
    "frequency_penalty": (0,),
    "function_call": ("none",),
    "functions": ([],),
    "guided_json": (),
    "ignore_eos": (False,),
    "logit_bias": ({},),
    "min_p": (0,),
    "min_tokens": (0,),
    "modalities": (["text"],),
    "prediction": (),
    "presence_penalty": (0,),
    "prompt_logprobs": (),
    "repetition_penalty": (1,),
    "response_format": ({"type": "text"},),
    "stop_token_ids": ([],),
    "structured_outputs": (),
    "top_logprobs": (0,),  # the generator returns the log-probability of the sampled token only
    "use_beam_search": (False,),
    "web_search_options": (),
}
"""Fields that would change the output, with the values that leave it as it is."""


class StreamOptions(BaseModel):
    """Options of a stream."""

    include_usage: bool | None = False


class CompletionTool(BaseModel):
    """A function that the client offers the model."""

    type: Literal["function"]
    function: FunctionInput


class ChatCompletionRequest(SamplingInput):
    """A conversation to continue. Fields that change nothing in the output are ignored."""

    model_config = ConfigDict(extra="allow")

    model: str
    messages: list[MessageInput]
    n: Annotated[int | None, Field(ge=1, le=_MOST_CHOICES)] = 1
    stop: str | list[str] | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    logprobs: bool | None = False
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    tools: list[CompletionTool] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    return_token_ids: bool | None = False
    """As in vLLM. Here with the mask, log-probabilities and policy versions."""
    tool_activity: Literal["reasoning", "structured"] = "reasoning"
    """Place of the agent's code and outputs: the text of `reasoning`, or `tool_activity` of the message or delta."""

    def to_turns(self) -> TurnRequest:
        """Return the request for turns.

        Raises:
            InvalidRequest: A field is not supported.
        """
        refuse_unsupported(self.model_extra or {}, _UNSUPPORTED)
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        functions = (tool.function.to_contract() for tool in self.tools or ())
        shows_usage = not self.stream or bool(self.stream_options and self.stream_options.include_usage)
        return TurnRequest(
            messages=[message.to_contract() for message in self.messages],
            functions=offered_functions(functions, self.tool_choice, parallel=self.parallel_tool_calls),
            choices=self.n or 1,
            sampling=self.sampling(),
            max_tokens=self.max_completion_tokens or self.max_tokens,
            stop=stop,
            token_texts=shows_usage or bool(self.logprobs),
        )
