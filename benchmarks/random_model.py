"""A model of a given shape with random weights: nothing is downloaded.

Its tokenizer is read from a folder, or built: bytes, fillers up to the size of the vocabulary, and Qwen's special
tokens. The rows of a few special tokens in the output layer are longer, so that the model samples them now and then:
its trajectories differ in length, and call Python.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

QWEN3_4B = {
    "model_type": "qwen3",
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": True,
    "max_position_embeddings": 262144,
    "rope_theta": 5_000_000,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
}
"""Qwen/Qwen3-4B-Thinking-2507's config.json, except its 36 layers."""
_SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
_SAMPLED = ("<|im_end|>", "<tool_call>", "</tool_call>")
_LENGTH = 8.0  # of their rows, relative to others: 1 token in about 30 is one of them
_CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_TOKENIZER_FILES = "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"


def write_random_model(
    folder: Path, shape: dict[str, Any], layers: int, tokenizer: Path | None = None, device: str = "cpu"
) -> int:
    """Write a model of `shape` with `layers` layers in bfloat16 to `folder`; return its number of parameters.

    `tokenizer` is a folder with the files of one; where it does not exist, one is built. The weights are made on
    `device`.
    """
    folder.mkdir(parents=True)
    if tokenizer and (tokenizer / "tokenizer.json").exists():
        for name in _TOKENIZER_FILES:
            shutil.copy(tokenizer / name, folder)
    else:
        _build_tokenizer(shape["vocab_size"]).save_pretrained(folder)
    loaded = AutoTokenizer.from_pretrained(folder)
    end = loaded.convert_tokens_to_ids("<|im_end|>")
    config = AutoConfig.for_model(
        **shape, num_hidden_layers=layers, eos_token_id=end, pad_token_id=loaded.pad_token_id, dtype="bfloat16"
    )
    torch.manual_seed(0)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    with torch.no_grad():
        model.get_output_embeddings().weight[loaded.convert_tokens_to_ids(list(_SAMPLED))] *= _LENGTH
    model.save_pretrained(folder)
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": end}))
    return sum(weight.numel() for weight in model.parameters())


def _build_tokenizer(vocabulary: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of bytes whose other entries are fillers."""
    entries = sorted(pre_tokenizers.ByteLevel.alphabet())
    entries += [f"<filler {index}>" for index in range(vocabulary - len(entries) - len(_SPECIAL))]
    tokenizer = Tokenizer(models.BPE({entry: index for index, entry in enumerate(entries)}, []))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    fast.add_tokens(list(_SPECIAL), special_tokens=False)
    fast.chat_template = _CHAT
    return fast
