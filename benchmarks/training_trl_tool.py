r"""The Python tool of the TRL baseline, and the format by which TRL's own tool loop understands the embedded model.

The model writes raw Python between `<tool_call>` and `</tool_call>` and reads the output in a fence, all in one turn:

- TRL parses calls by a `response_template` of transformers. Here what stands between the two is the argument `code`.
- A call ends the turn for TRL, so `</tool_call>` is the tokenizer's end token, beside `<|im_end|>`. By that token TRL
  also finds where a tool's output begins when it takes the output's ids from the chat template.
- The chat template renders an output as the fence, within the assistant's turn. Calls of tools other than `python`, of
  which there are none, are rendered as JSON: TRL checks that a tool's name is not lost.
"""

import ast
import contextlib
import io
import re
import signal
from typing import Any

SNIPPET_S = 5
END_OF_CALL = "</tool_call>"
NO_OUTPUT = "(no output)"
RESPONSE_TEMPLATE = {
    "defaults": {"role": "assistant"},
    # TRL parses each turn with all that came before it: the new text begins here.
    "start_anchor_pattern": r"<\|im_start\|>assistant\n|</tool_call>\n```output\n.*?\n```\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<tool_call>(?=.*</tool_call>)",  # a call that was cut off is none
            "close": END_OF_CALL,
            "repeats": True,
            "content": "text",
            "transform": {"type": "function", "function": {"name": "python", "arguments": {"code": "{content}"}}},
        },
        "content": {"close": "<|im_end|>", "content": "text"},
    },
}
CHAT_TEMPLATE = r"""
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {{- '\n```output\n' + message.content + '\n```\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content }}
        {%- for call in message.tool_calls or [] %}
            {%- set code = call.function.arguments.code if call.function.name == 'python' else call.function | tojson %}
            {{- '<tool_call>' + (code or '') + '</tool_call>' }}
        {%- endfor %}
        {%- if not message.tool_calls %}
            {{- '<|im_end|>\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and messages[-1].role != 'tool' %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}"""
_FAILURE = re.compile(r"\w+(Error|Exception|Iteration|Exit|Interrupt): .*")


class ToolSession:
    """What TRL makes for each trajectory; its public methods are the tools. Variables live from call to call."""

    def reset(self, **_: object) -> None:
        """Begin with another trajectory."""
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def python(self, code: str) -> str:
        """Run Python and return its standard output, then the value of its last expression.

        Args:
            code: The source.
        """
        out = io.StringIO()
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, SNIPPET_S)
        try:
            with contextlib.redirect_stdout(out):
                shown = self._run(code)
        except BaseException as error:  # a snippet may also say exit()
            shown = f"{type(error).__name__}: {error}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        return "\n".join(part for part in (out.getvalue().rstrip("\n"), shown) if part) or NO_OUTPUT

    def _run(self, code: str) -> str:
        body = ast.parse(code.strip("\n")).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "<snippet>", "exec"), self._names)
        if not isinstance(last, ast.Expr):
            return ""
        value = eval(compile(ast.Expression(last.value), "<snippet>", "eval"), self._names)
        return "" if value is None else repr(value)


def succeeded(output: str) -> bool:
    """Return whether what `python` returned shows something and ends with no exception."""
    return output != NO_OUTPUT and not _FAILURE.fullmatch(output.rpartition("\n")[2])


def _stop(*_: object) -> None:
    raise TimeoutError(f"stopped after {SNIPPET_S} s")
