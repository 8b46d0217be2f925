r"""The Python tool of the TRL baseline, and the templates with which TRL's own tool loop runs the embedded model.

The model writes raw Python between `<tool_call>` and `</tool_call>` and reads the output in a fence, all in one turn:

- TRL parses calls with a `response_template` of transformers. Here the text between the two is the argument `code`.
- For TRL a call ends the turn, so `</tool_call>` is the tokenizer's end token, beside `<|im_end|>`. With that token TRL
  also finds the start of a tool's output when it takes the output's ids from the chat template.
- The chat template renders an output as the fence, within the assistant's turn. Calls of tools other than `python`,
  which do not exist, are rendered as JSON, because TRL checks that the name of a tool is rendered.
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
    # TRL parses each turn together with everything before it: the new text starts here.
    "start_anchor_pattern": r"<\|im_start\|>assistant\n|</tool_call>\n```output\n.*?\n```\n",
    "fields": {
        "tool_calls": {
            "open_pattern": r"<tool_call>(?=.*</tool_call>)",  # a truncated call is not a call
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
    """The environment of one trajectory; its public methods are the tools. Variables persist between calls."""

    def reset(self, **_: object) -> None:
        """Start another trajectory."""
        self._names: dict[str, Any] = {"__name__": "__main__"}

    def python(self, code: str) -> str:
        """Run Python and return its standard output, then the value of its last expression.

        Args:
            code: Python source code.
        """
        out = io.StringIO()
        signal.signal(signal.SIGALRM, _stop)
        signal.setitimer(signal.ITIMER_REAL, SNIPPET_S)
        try:
            with contextlib.redirect_stdout(out):
                shown = self._run(code)
        except BaseException as error:  # a snippet may also call exit()
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
    """Return whether `output`, returned by `python`, is not empty and does not end with an exception."""
    return output != NO_OUTPUT and not _FAILURE.fullmatch(output.rpartition("\n")[2])


def _stop(*_: object) -> None:
    raise TimeoutError(f"stopped after {SNIPPET_S} s")
