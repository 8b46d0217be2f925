"""Reading of a model's tokens: their text, and the token at which a call is complete.

An output that the model begins to write itself is cut off: a step ends with the last token before it, as if a call
ended there. What the token that completes an output's mark holds before the mark is dropped with it.

No rule depends on how a tokenizer divides the marks of a call: they are found in the decoded text, which continues from
one step of a trajectory to the next. Nor on how many tokens are read at once: the kept tokens alone decide.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from deepmath.dialects import Dialect
from deepmath.dialects.dialect_parser import CallParser
from deepmath_generator.stop_watch import StopWatch
from deepmath_generator.token_decoder import TokenDecoder

_SLICE_TOKENS = 256


class CallReader:
    """Reads the tokens that a model samples in one trajectory, step by step.

    Args:
        tokenizer: The model's tokenizer.
        dialect: The model's dialect.
        parser: Receives the text.
        stops: Whether a step stops after a complete call.
        on_text: Receives the text too, as soon as its characters are complete.
        stop: Looks for stop sequences.
    """

    def __init__(
        self,
        tokenizer: Any,
        dialect: Dialect,
        parser: CallParser,
        stops: bool,
        on_text: Callable[[str], None] | None = None,
        stop: StopWatch | None = None,
    ) -> None:
        self._stop = stop
        self.stopped = False
        """Whether a stop sequence is complete: the last kept token completes it."""
        self._tokenizer, self._parser, self._stops, self._on_text = tokenizer, parser, stops, on_text
        self._decoder = TokenDecoder.after(tokenizer, [])
        self._withheld: list[str] = []  # text that may be the start of an output of the model's own
        self.stop_token = _single_token(tokenizer, dialect.end) if stops and dialect.stops_at_token else None
        """The token at which an engine is to stop; None: no single token ends a call."""
        self.start_step()

    @property
    def must_watch(self) -> bool:
        """Whether only reading the tokens as they are sampled can stop the next step after a call.

        Otherwise one token ends a call, for which an engine can wait itself.
        """
        if self._stop:
            return True
        return self._stops and (self._parser.is_undecided or self.stop_token is None)

    def follow(self, token_ids: Sequence[int]) -> None:
        """Note that the next token of the model follows `token_ids`, which the model did not sample.

        What the model's last token has left incomplete, a mark or a character, is completed by the next one all the
        same: the tokens `</tool_call><` and `tool_call>` have an output between them.
        """
        if not self._decoder.pending:
            self._decoder = TokenDecoder.after(self._tokenizer, token_ids)

    def start_step(self) -> None:
        """Start a step."""
        self._send_withheld()
        self._start, self._parsed = self._decoder, self._parser.state()  # at the start of the step
        self._texts: list[str] = []
        self._token_ids: list[int] = []  # the kept ones
        self.is_unclosed = False
        """Whether the mark that ends the call is missing: an output that the model wrote itself was in its place."""
        self.calls: list[str | None] = []
        """Texts of the complete calls, as in `EndOfCall`: more than one if the last token completes several."""

    @property
    def kept(self) -> int:
        """Number of tokens of the step, up to the one that completes its first call."""
        return len(self._token_ids)

    @property
    def text(self) -> str:
        """Text of the kept tokens. A character that the step leaves incomplete is in the text of the next one."""
        return "".join(self._texts)

    def feed(self, token_ids: Sequence[int]) -> bool:
        """Read further tokens of the step; return whether a call or a stop sequence is complete.

        What follows it is not read.
        """
        size = 1 if self._stop else _SLICE_TOKENS
        for start in range(0, len(token_ids), size):
            if self.calls or self.stopped:
                break
            self._feed(token_ids[start : start + size])
        return bool(self.calls) or self.stopped

    def flush(self) -> str:
        """Return the text that is left of an incomplete character: no token follows that completes it."""
        text, self._decoder = self._decoder.rest(), TokenDecoder.after(self._tokenizer, [])
        for _ in self._parser.ends(text):
            pass
        self._withheld.append(text)
        self._send_withheld()
        return text

    def _feed(self, token_ids: Sequence[int]) -> None:
        text, decoder = self._decoder.decode(token_ids)
        ends = self._parser.ends(text)
        end = next(ends, None) if self._stops else None
        if end:
            decode = self._decoder.decode
            count = bisect_left(range(len(token_ids)), end.offset, key=lambda n: len(decode(token_ids[:n])[0]))
            token_ids = token_ids[:count]
            text, decoder = decode(token_ids)
        for _ in ends:
            pass
        self._decoder = decoder
        self._token_ids += token_ids
        self._texts.append(text)
        self._withheld.append(text)
        if end:
            self._complete_calls()
        if self._stop and self._stop.found(text):
            self.stopped = not end
        if end or not self._parser.is_undecided:
            self._send_withheld()

    def _complete_calls(self) -> None:
        """Read the kept tokens once more, as one text: how many were read at once must not matter."""
        self._parser.restore(self._parsed)
        ends = list(self._parser.ends(self.text))
        cuts = [end.cut for end in ends if end.cut is not None]
        if cuts:
            self._cut_output(cuts[0])
        else:
            self.calls = [end.text for end in ends]

    def _cut_output(self, position: int) -> None:
        """End the step with the last token before `position` in its text."""
        tokens, decode = self._token_ids, self._start.decode
        counts = range(len(tokens) + 1)
        count = bisect_right(counts, max(0, position), key=lambda n: len(decode(tokens[:n])[0])) - 1
        sent = len(self.text) - sum(map(len, self._withheld))
        text, self._decoder = decode(tokens[:count])
        self._token_ids, self._texts, self._withheld = tokens[:count], [text], [text[sent:]]
        self._parser.restore(self._parsed)
        for _ in self._parser.ends(text):
            pass
        call = self._parser.end_call()
        self.calls, self.is_unclosed = [call], call is not None

    def _send_withheld(self) -> None:
        text, self._withheld = "".join(self._withheld), []
        if text and self._on_text:
            self._on_text(text)


@lru_cache(maxsize=8)
def _single_token(tokenizer: Any, text: str) -> int | None:
    """Return the token that is `text`; None if the tokenizer divides it."""
    token_ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return token_ids[0] if len(token_ids) == 1 else None
