"""Validation of requests: each check raises `InvalidRequest` with the name of the offending field."""

from collections.abc import Sequence

from deepmath.errors import InvalidRequest
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath_generator.prompt_template import Mode

_MAX_QUESTION_BYTES = 64 << 10
_MAX_SAMPLES = 1024
_MAX_PROMPTS = 4096
_MAX_ID_BYTES = 128
_MAX_STOP_SEQUENCES = 16
_MAX_STOP_BYTES = 256

_MODES: dict[pb.Mode.ValueType, Mode] = {
    pb.MODE_UNSPECIFIED: "agent",
    pb.MODE_AGENT: "agent",
    pb.MODE_PLAIN: "plain",
}


def checked_mode(mode: pb.Mode.ValueType) -> Mode:
    """Return the mode of a request, "agent" by default."""
    if mode not in _MODES:
        raise InvalidRequest(f"mode {mode} is unknown; use MODE_AGENT or MODE_PLAIN")
    return _MODES[mode]


def checked_samples(samples: int) -> int:
    """Return the number of samples, 1 by default."""
    return _within("samples", samples or 1, _MAX_SAMPLES)


def check_prompts(prompts: Sequence[pb.RolloutPrompt]) -> None:
    """Check the number of prompts and the length of their ids."""
    _within("prompts", len(prompts), _MAX_PROMPTS)
    for index, prompt in enumerate(prompts):
        if len(prompt.id.encode()) > _MAX_ID_BYTES:
            raise InvalidRequest(f"prompts[{index}].id is longer than {_MAX_ID_BYTES} bytes")


def checked_run(run: str) -> str:
    """Return the name of a training run."""
    if len(run.encode()) > _MAX_ID_BYTES:
        raise InvalidRequest(f"the name of the run is longer than {_MAX_ID_BYTES} bytes")
    return run


def check_question(field: str, question: str) -> None:
    """Check that a question is neither empty nor too long."""
    if not question.strip():
        raise InvalidRequest(f"{field} is empty; provide the problem to solve")
    if (size := len(question.encode())) > _MAX_QUESTION_BYTES:
        raise InvalidRequest(f"{field} has {size} bytes; the maximum is {_MAX_QUESTION_BYTES}")


def check_prompt_length(field: str, prompt_ids: Sequence[int], context_length: int, output: str) -> None:
    """Check that the context has room for at least one token after the prompt; `output` names what follows it."""
    if len(prompt_ids) >= context_length:
        raise InvalidRequest(
            f"{field} makes a prompt of {len(prompt_ids)} tokens, and the model's context of {context_length} must "
            f"hold {output} too; shorten it or serve a model with a longer context"
        )


def checked_max_tokens(request: pb.ChatRequest, default: int) -> int:
    """Return the maximum number of tokens of a chat turn."""
    max_tokens = request.max_tokens if request.HasField("max_tokens") else default
    if max_tokens < 1:
        raise InvalidRequest(f"max_tokens is {max_tokens}; it must be at least 1. Omit it for the default.")
    return max_tokens


def checked_stop_sequences(stop_sequences: Sequence[str]) -> list[str]:
    """Return the stop sequences."""
    if len(stop_sequences) > _MAX_STOP_SEQUENCES:
        raise InvalidRequest(f"stop_sequences: {len(stop_sequences)}; the maximum number is {_MAX_STOP_SEQUENCES}")
    for index, text in enumerate(stop_sequences):
        _within(f"bytes of stop_sequences[{index}]", len(text.encode()), _MAX_STOP_BYTES)
    return list(stop_sequences)


def _within(field: str, count: int, maximum: int) -> int:
    if not 1 <= count <= maximum:
        raise InvalidRequest(f"{field}: {count}; it must be from 1 to {maximum}")
    return count
