"""Request of a response, and the items of its input as messages."""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_gateway.openai.message_input import (
    FunctionInput,
    MessageInput,
    SamplingInput,
    Text,
    offered_functions,
    refuse_unsupported,
)
from deepmath_gateway.openai.served_models import AGENT, ServedModel
from deepmath_gateway.openai.turn_request import TurnRequest

Model = TypeVar("Model", bound=BaseModel)

_UNSUPPORTED: dict[str, tuple[Any, ...]] = {
    "background": (False,),
    "conversation": (),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "max_tool_calls": (),
    "min_p": (0,),
    "presence_penalty": (0,),
    "previous_response_id": (),  # responses are not stored
    "prompt": (),
    "top_logprobs": (0,),
}
_NOT_READ_AGAIN = ("reasoning", "code_interpreter_call")  # as chat templates leave out earlier thinking


class FunctionCallItem(BaseModel):
    """An earlier call of a function."""

    call_id: str
    name: str
    arguments: str = "{}"


class FunctionOutputItem(BaseModel):
    """The output of a call."""

    call_id: str
    output: Text


class TextFormat(BaseModel):
    """The form of the answer: text."""

    model_config = ConfigDict(extra="allow")

    type: str = "text"


class TextOptions(BaseModel):
    """Options of the answer's text."""

    format: TextFormat | None = None


class ResponsesRequest(SamplingInput):
    """A conversation to continue. Fields that change nothing in the output are ignored."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    max_output_tokens: Annotated[int | None, Field(ge=1)] = None
    metadata: dict[str, str] | None = None
    parallel_tool_calls: bool | None = None
    stream: bool | None = False
    text: TextOptions | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: Any = None
    truncation: Literal["auto", "disabled"] | None = "disabled"

    def to_turns(self, model: ServedModel) -> TurnRequest:
        """Return the request for the turn.

        Raises:
            InvalidRequest: A field or an item is not supported.
        """
        refuse_unsupported(self.model_extra or {}, _UNSUPPORTED)
        if self.text and self.text.format and self.text.format.type != "text":
            raise InvalidRequest("text.format: the model writes plain text only; leave the field out")
        messages = []
        if self.instructions:
            messages.append(pb.ChatMessage(role=pb.ChatMessage.ROLE_SYSTEM, content=self.instructions))
        if isinstance(self.input, str):
            messages.append(pb.ChatMessage(role=pb.ChatMessage.ROLE_USER, content=self.input))
        else:
            messages += _messages(self.input)
        functions = _functions(self.tools or [], model)
        return TurnRequest(
            messages=messages,
            functions=offered_functions(functions, self.tool_choice, parallel=self.parallel_tool_calls),
            sampling=self.sampling(),
            max_tokens=self.max_output_tokens,
        )


def _messages(items: list[dict[str, Any]]) -> list[pb.ChatMessage]:
    """Return the messages of input items. Consecutive calls belong to one message of the assistant."""
    messages: list[pb.ChatMessage] = []
    for index, item in enumerate(items):
        where, kind = f"input[{index}]", item.get("type", "message")
        match kind:
            case "message":
                messages.append(_validated(MessageInput, where, item).to_contract())
            case "function_call":
                called = _validated(FunctionCallItem, where, item)
                call = pb.FunctionCall(id=called.call_id, name=called.name, arguments_json=called.arguments)
                if not messages or messages[-1].role != pb.ChatMessage.ROLE_ASSISTANT:
                    messages.append(pb.ChatMessage(role=pb.ChatMessage.ROLE_ASSISTANT))
                messages[-1].calls.append(call)
            case "function_call_output":
                output = _validated(FunctionOutputItem, where, item)
                messages.append(
                    pb.ChatMessage(role=pb.ChatMessage.ROLE_TOOL, content=output.output, call_id=output.call_id)
                )
            case _ if kind not in _NOT_READ_AGAIN:
                raise InvalidRequest(f"{where}: items of the type {str(kind)[:40]!r} are not supported")
    return messages


def _functions(tools: list[dict[str, Any]], model: ServedModel) -> list[pb.Function]:
    """Return the functions among the tools. The agent has the code interpreter in any case."""
    functions = []
    for index, tool in enumerate(tools):
        kind = tool.get("type")
        if kind == "function":
            functions.append(_validated(FunctionInput, f"tools[{index}]", tool).to_contract())
        elif kind != "code_interpreter":
            raise InvalidRequest(f"tools: the type {str(kind)[:40]!r} is not supported; send functions")
        elif model.mode == "chat":
            raise InvalidRequest(f"tools: {AGENT!r} has the code interpreter, and this model has not")
    return functions


def _validated(kind: type[Model], where: str, item: dict[str, Any]) -> Model:
    try:
        return kind.model_validate(item)
    except ValueError as error:
        mistake = error.errors()[0] if hasattr(error, "errors") else {"loc": (), "msg": str(error)}
        place = ".".join([where, *map(str, mistake["loc"])])
        raise InvalidRequest(f"{place[:100]}: {mistake['msg']}") from None
