"""Chat templates of model families: those that TRL ships, and excerpts of others with their deciding features."""

from importlib.resources import files
from typing import Any

import pytest

MISTRAL = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
"""Mistral 7B v0.1: no system text, no tools."""

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Bare turns: Hermes 3 without tools, and many fine-tuned models."""

HERMES_2_PRO = (
    "{% if tools %}{{ '<|im_start|>system\\n<tools>' + (tools | tojson) + '</tools>\\n<tool_call>\\n"
    '{"arguments": <args-dict>, "name": <function-name>}\\n</tool_call><|im_end|>\\n\' }}{% endif %}'
    "{% for message in messages %}"
    "{% if message.role == 'tool' %}"
    "{% if not message.name is defined %}{{ raise_exception('name is missing') }}{% endif %}"
    '{{ \'<|im_start|>tool\\n<tool_response>\\n{"name": "\' + message.name + \'", "content": \' }}'
    "{{ (message.content | tojson) + '}\\n</tool_response> <|im_end|>\\n' }}"
    "{% elif message.tool_calls is defined %}{{ '<|im_start|>assistant' }}{% for call in message.tool_calls %}"
    '{{ \'\\n<tool_call>\\n{ "arguments": \' + (call.function.arguments | tojson) + \', "name": "\' }}'
    "{{ call.function.name + '\"}\\n</tool_call> ' }}{% endfor %}{{ '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Hermes 2 Pro's `tool_use`: the name after the arguments, outputs as JSON, and outputs without a name rejected."""

QWEN3_CODER = (
    "{% if tools %}{{ '<|im_start|>system\\n<tool_call>\\n<function=example_function_name>\\n</function>\\n</tool_call>"
    "<|im_end|>\\n' }}{% endif %}{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}"
    "{{ message.content }}{% for call in message.tool_calls or [] %}"
    "{{ '<tool_call>\\n<function=' + call.function.name + '>\\n"
    "<parameter=code>\\n' + call.function.arguments.code + '\\n</parameter>\\n</function>\\n</tool_call>' }}"
    "{% endfor %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""Qwen3-Coder: calls in XML."""

QWEN2_5_MATH = "{{ '<|im_start|>system\\nPut your final answer within \\\\boxed{}.<|im_end|>\\n' }}" + CHATML
"""Qwen2.5-Math: a system text of its own."""

_EXCERPTS = {
    "mistral": MISTRAL,
    "chatml": CHATML,
    "hermes_2_pro": HERMES_2_PRO,
    "qwen3_coder": QWEN3_CODER,
    "qwen2_5_math": QWEN2_5_MATH,
    "none": "",
}


def chat_template(name: str) -> str:
    """Return the template `name`: an excerpt of this module, or a file of TRL."""
    if name in _EXCERPTS:
        return _EXCERPTS[name]
    pytest.importorskip("trl", reason="its chat templates are needed")
    file = files("trl") / "chat_templates" / f"{name}.jinja"
    if not file.is_file():
        pytest.skip(f"this version of TRL has no chat template {name}")
    return file.read_text()


def render(source: str, messages: Any, tools: Any) -> str:
    """Render messages as a tokenizer with the template `source` does."""
    from transformers.utils.chat_template_utils import render_jinja_template

    if not source:
        raise ValueError("there is no chat template")
    rendered, _ = render_jinja_template(
        [list(messages)],
        tools=list(tools) if tools else None,
        chat_template=source,
        add_generation_prompt=True,
        bos_token="<s>",
        eos_token="</s>",
    )
    return str(rendered[0])
