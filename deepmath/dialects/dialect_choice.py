"""Choice of a model's dialect by its vocabulary, its chat template and its name."""

import re
from collections.abc import Container

from deepmath.dialects.dialect import Dialect
from deepmath.dialects.dialect_registry import DIALECTS

_RAW_PYTHON = re.compile(r"deepmath|openmath|tiny-math", re.IGNORECASE)
_FENCES = re.compile(r"coder|math|tora|torl", re.IGNORECASE)


def choose_dialect(tokens: Container[str], chat_template: str, model: str) -> Dialect:
    r"""Return the dialect of a model, by the first rule that applies.

    1. A model named after DeepMath or OpenMath writes raw Python in `<tool_call>`.
    2. With the token `<|python_tag|>` it is a Llama.
    3. A model named after code or mathematics, or whose template asks for `\boxed{}` as Qwen2.5-Math's does, writes
       fences. The name decides because the template of a Qwen2.5-Coder is that of a Qwen2.5.
    4. A template that describes tools and writes `<tool_call>` is Hermes'.
    5. With the token `<tool_call>` it is raw Python in it, else fences.

    Args:
        tokens: The added tokens of the model's vocabulary.
        chat_template: The source of the model's chat template.
        model: Name of the model.
    """
    if _RAW_PYTHON.search(model):
        name = "tool-call"
    elif "<|python_tag|>" in tokens:
        name = "python-tag"
    elif _FENCES.search(model) or "\\boxed" in chat_template:
        name = "python-fence"
    elif "<tool_call>" in chat_template and "tools" in chat_template:
        name = "hermes"
    else:
        name = "tool-call" if "<tool_call>" in tokens else "python-fence"
    return DIALECTS[name]
