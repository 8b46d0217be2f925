"""Messages, functions and sampling parameters of requests, as the generator's contract has them."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb

_ROLES = {
    "system": pb.ChatMessage.ROLE_SYSTEM,
    "developer": pb.ChatMessage.ROLE_SYSTEM,
    "user": pb.ChatMessage.ROLE_USER,
    "assistant": pb.ChatMessage.ROLE_ASSISTANT,
    "tool": pb.ChatMessage.ROLE_TOOL,
}

Role = Literal["system", "developer", "user", "assistant", "tool"]


def _joined_text(content: Any) -> Any:
    """Return content as one text; parts that are no text are an error."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else type(part).__name__
        if isinstance(part, str):
            texts.append(part)
        elif kind == "refusal":
            texts.append(str(part.get("refusal", "")))
        elif kind in ("text", "input_text", "output_text") and isinstance(part.get("text"), str):
            texts.append(part["text"])
        else:
            raise ValueError(f"a part has the type {str(kind)[:40]!r}; the model reads text only")
    return "\n".join(texts)


Text = Annotated[str, BeforeValidator(_joined_text)]


class CalledFunctionInput(BaseModel):
    """The function of a call, and its arguments as JSON text."""

    name: str
    arguments: str = "{}"


class ToolCallInput(BaseModel):
    """A call of a function in a message of the assistant."""

    id: str = ""
    type: Literal["function"] = "function"
    function: CalledFunctionInput


class MessageInput(BaseModel):
    """A message of a chat. What the assistant thought is not read again."""

    role: Role
    content: Text = ""
    tool_calls: list[ToolCallInput] | None = None
    tool_call_id: str | None = None

    def to_contract(self) -> pb.ChatMessage:
        """Return the message for the generator."""
        calls = [
            pb.FunctionCall(id=call.id, name=call.function.name, arguments_json=call.function.arguments)
            for call in self.tool_calls or ()
        ]
        return pb.ChatMessage(
            role=_ROLES[self.role], content=self.content, calls=calls, call_id=self.tool_call_id or ""
        )


class FunctionInput(BaseModel):
    """A function that the client offers the model."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def to_contract(self) -> pb.Function:
        """Return the function for the generator."""
        parameters = json.dumps(self.parameters, ensure_ascii=False) if self.parameters else ""
        return pb.Function(name=self.name, description=self.description or "", parameters_json=parameters)


class SamplingInput(BaseModel):
    """Sampling parameters, by default the generator's."""

    temperature: float | None = None
    top_p: float | None = None
    top_k: Annotated[int | None, Field(ge=-1, lt=1 << 31)] = None
    seed: Annotated[int | None, Field(ge=0, lt=1 << 63)] = None

    def sampling(self) -> pb.Sampling:
        """Return the parameters for the generator."""
        top_k = 0 if self.top_k == -1 else self.top_k  # -1 is off for vLLM
        return pb.Sampling(temperature=self.temperature, top_p=self.top_p, top_k=top_k, seed=self.seed)


def offered_functions(functions: Iterable[pb.Function], choice: Any, *, parallel: bool | None) -> list[pb.Function]:
    """Return the functions that the model may call.

    Raises:
        InvalidRequest: The request wants a call enforced or prevented, which sampling here cannot.
    """
    offered = list(functions)
    if choice not in (None, "auto", "none"):
        raise InvalidRequest("tool_choice: the model decides whether it calls; send 'auto' or 'none'")
    if not offered or choice == "none":
        return []
    if parallel is False:
        raise InvalidRequest("parallel_tool_calls: the model decides how many calls it makes; leave the field out")
    return offered


def refuse_unsupported(fields: Mapping[str, Any], neutral: Mapping[str, tuple[Any, ...]]) -> None:
    """Refuse fields that would change the output and are not supported, unless they have a value that changes nothing.

    Raises:
        InvalidRequest: A field has another value.
    """
    for name, values in neutral.items():
        if name in fields and fields[name] is not None and fields[name] not in values:
            raise InvalidRequest(f"{name}: not supported by this model; leave the field out")
