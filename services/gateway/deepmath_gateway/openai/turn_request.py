"""A request for turns of the model, as both APIs understand it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_gateway.openai.served_models import AGENT, ServedModel

_MOST_TOKENS = (1 << 31) - 1
_USER, _TOOL = pb.ChatMessage.ROLE_USER, pb.ChatMessage.ROLE_TOOL


@dataclass(frozen=True)
class TurnRequest:
    """The conversation, the functions, and how to continue."""

    messages: Sequence[pb.ChatMessage]
    functions: Sequence[pb.Function] = ()
    choices: int = 1
    sampling: pb.Sampling = field(default_factory=pb.Sampling)
    max_tokens: int | None = None
    """Tokens of a turn; the generator clamps it to what its context has left."""
    stop: Sequence[str] = ()
    token_texts: bool = True
    """Whether usage or log-probabilities are reported, which need the texts of the tokens."""

    @property
    def token_limit(self) -> int | None:
        """`max_tokens` in the range of the contract."""
        return None if self.max_tokens is None else min(self.max_tokens, _MOST_TOKENS)

    def check(self, model: ServedModel) -> None:
        """Check what only one of the models can do.

        Raises:
            InvalidRequest: The model cannot continue this conversation.
        """
        if not self.messages:
            raise InvalidRequest("messages: there are none; send at least one")
        if model.mode == "chat":
            if self.functions and model.info.functions_failure:
                raise InvalidRequest(f"tools: {model.info.functions_failure}; leave them out")
            return
        if self.functions:
            raise InvalidRequest(
                f"tools: {AGENT!r} calls Python and no functions of yours; send them to {model.info.model!r}"
            )
        if self.messages[-1].role != _USER or not self.messages[-1].content.strip():
            raise InvalidRequest(f"messages: the last one has to be of the user, with the question for {AGENT!r}")
        if any(message.role == _TOOL or message.calls for message in self.messages):
            raise InvalidRequest(
                f"messages: {AGENT!r} reads no calls of functions and no outputs of tools; send the text of the user "
                "and of the assistant only"
            )
