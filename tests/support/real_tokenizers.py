"""Tokenizers of real model families: from a package that ships the vocabulary, or from a model's folder."""

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

TEMPLATES = Path(__file__).parent / "chat_templates"
_SPECIAL_TOKENS = (
    *("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eom_id|>", "<|eot_id|>", "<|python_tag|>"),
    *("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"),
)


def llama_tokenizer() -> Any:
    """Return the tokenizer of Llama 3.1, with a chat template of its published prompt format."""
    return _tokenizer(_shipped("llama_models", "llama3/tokenizer.model"), r"\p{N}{1,3}", "<|eot_id|>", "llama-3.1")


def hermes_tokenizer() -> Any:
    """Return the vocabulary of Hermes 3, which is Llama's with the tokens of ChatML, and a template of its format."""
    return _tokenizer(_shipped("llama_models", "llama3/tokenizer.model"), r"\p{N}{1,3}", "<|im_end|>", "chatml-tools")


def qwen_tokenizer() -> Any:
    """Return the vocabulary of Qwen, with the tokens of Qwen2.5 and a template of its format."""
    return _tokenizer(_shipped("dashscope", "resources/qwen.tiktoken"), r"\p{N}", "<|im_end|>", "chatml-tools")


@cache
def real_model_tokenizer() -> Any:
    """Return the tokenizer of the real model in the folder `DEEPMATH_REAL_MODEL`, with its own template."""
    folder = os.environ.get("DEEPMATH_REAL_MODEL")
    if not folder:
        pytest.skip("DEEPMATH_REAL_MODEL is not set to the folder of a real model")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _shipped(package: str, file: str) -> Path:
    found = find_spec(package)
    if found is None or not found.origin:
        pytest.skip(f"the package {package} with the vocabulary {file} is not installed")
    return Path(found.origin).parent / file


@cache
def _tokenizer(file: Path, numbers: str, end_of_turn: str, template: str) -> Any:
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=_backend(file, numbers), eos_token=end_of_turn)
    tokenizer.chat_template = (TEMPLATES / f"{template}.jinja").read_text()
    return tokenizer


@cache
def _backend(file: Path, numbers: str) -> Any:
    """Return a tokenizer with a vocabulary in tiktoken's format that divides numbers by the pattern `numbers`."""
    from transformers.convert_slow_tokenizer import TikTokenConverter

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + numbers + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|"
        r"\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    return TikTokenConverter(str(file), pattern, extra_special_tokens=list(_SPECIAL_TOKENS)).converted()
