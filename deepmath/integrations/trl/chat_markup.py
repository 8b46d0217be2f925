"""Markup of chats for TRL's tool loop with models that call Python in the tool-call dialect.

TRL knows the markup of many instruct models, which need nothing from here. The embedded model, and others with ChatML
that write raw Python in `<tool_call>`, read the output within the same turn, as `deepmath.dialects` has it.
"""

from typing import Any

_CHATML = r"""
{%- for message in messages %}
    {%- if message.role == 'tool' %}
        {%- set output = namespace(fence='```') %}
        {%- for length in range(4, 65) %}
            {%- if output.fence in message.content %}{%- set output.fence = '`' * length %}{%- endif %}
        {%- endfor %}
        {{- '\n' + output.fence + 'output\n' + message.content + '\n' + output.fence + '\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' if loop.first or loop.previtem.role != 'tool' }}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {%- set function = call.function %}
            {%- set is_python = function.name == 'python' and 'code' in function.arguments %}
            {{- '<tool_call>\n' + (function.arguments.code if is_python else function | tojson) + '\n</tool_call>' }}
        {%- else %}
            {{- '<|im_end|>\n' }}
        {%- endfor %}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and messages[-1].role != 'tool' %}{{- '<|im_start|>assistant\n' }}{%- endif %}
"""
_RESPONSE = {
    "defaults": {"role": "assistant"},
    # The calls before an output are not read again.
    "start_anchor_pattern": r"<\|im_start\|>assistant\n|</tool_call>\n(`{3,})output\n.*?\n\1\n",
    "fields": {
        "tool_calls": {
            "open": "<tool_call>",
            "close": ["</tool_call>", "<|im_end|>"],
            "content": "text",
            "repeats": True,
            "transform": {"type": "function", "function": {"name": "python", "arguments": {"code": "{content}"}}},
        },
        "content": {"close": "<|im_end|>", "content": "text"},
    },
}


def use_tool_call_dialect(tokenizer: Any) -> Any:
    """Prepare a tokenizer of transformers (5.13 or later) for training with TRL, and return it.

    A completion stops after a call, since the end-of-sequence token becomes `</tool_call>`; the model's own one stays
    in its generation config. Save the model with its original tokenizer.
    """
    tokenizer.chat_template = _CHATML.strip()
    tokenizer.response_template = _RESPONSE
    tokenizer.eos_token = "</tool_call>"  # noqa: S105 - no password
    return tokenizer
