"""The question in a cell of a dataset or a field of JSON: a text, or a chat with one question."""

from collections.abc import Iterator

from deepmath.errors import InvalidRequest

_ADVICE = "write the problem as one text, or as chat messages with one of the user"


def question_text(cell: object) -> str:
    """Return the question in `cell` as text; empty if there is none.

    A chat is a list of messages such as `{"role": "user", "content": "What is 1 + 1?"}`: one of the user, after any
    number of system messages, whose texts precede the question. A content is a text or a list of text parts.

    Raises:
        InvalidRequest: it is neither, or not valid Unicode. The message says what it is.
    """
    if cell is None:
        return ""
    if isinstance(cell, list | tuple):
        text = "\n\n".join(filter(None, _chat_texts(cell)))
    elif isinstance(cell, str):
        text = cell.strip()
    else:
        raise InvalidRequest(f"the question is {_kind(cell)}; {_ADVICE}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise InvalidRequest(
            f"the question has a lone surrogate, U+{code:04X}, at character {error.start}: not valid Unicode"
        ) from None
    return text


def _chat_texts(messages: list[object] | tuple[object, ...]) -> Iterator[str]:
    """Yield the texts of the system messages and of the question."""
    for number, message in enumerate(messages, start=1):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise InvalidRequest(f"the question is a list whose entry {number} is not a chat message; {_ADVICE}")
        role, is_last = message["role"], number == len(messages)
        if role not in ("system", "developer", "user") or (role == "user") != is_last:
            roles = ", ".join(str(one.get("role") if isinstance(one, dict) else one)[:20] for one in messages[:10])
            raise InvalidRequest(f"the question is a conversation ({roles}), which cannot be solved; {_ADVICE}")
        yield _content_text(message.get("content"), number)
    if not messages:
        raise InvalidRequest(f"the question is an empty list; {_ADVICE}")


def _content_text(content: object, number: int) -> str:
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list | tuple):
        raise InvalidRequest(f"message {number} of the question has {_kind(content)} as its content; {_ADVICE}")
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else _kind(part)
        text = part.get("text") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(text, str):
            raise InvalidRequest(f"message {number} of the question has a part of type {kind!r:.40}; only text is read")
        texts.append(text)
    return "\n".join(texts).strip()


def _kind(value: object) -> str:
    names = {bool: "a truth value", int: "a number", float: "a number", dict: "an object", list: "a list"}
    return "nothing" if value is None else names.get(type(value), f"of type {type(value).__name__}")
