"""Tokenizer training: byte-level BPE on the corpus, single digits, Qwen3's special tokens and chat template."""

from collections.abc import Iterable, Iterator

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from training_corpus import END_OF_TURN, TrainingTrace
from transformers import PreTrainedTokenizerFast

from deepmath.dialects.output_fence import write_output
from deepmath.dialects.tool_call_dialect import ToolCallDialect

PAD, START_OF_TURN = "<|endoftext|>", "<|im_start|>"
# In Qwen3 these are added tokens but not special ones: decoding with skip_special_tokens keeps them.
VISIBLE = (ToolCallDialect.start, ToolCallDialect.end, "<think>", "</think>")

VOCABULARY = 768

# Qwen3's pre-tokenization: words with their leading space, single digits, punctuation, newlines, whitespace.
# https://huggingface.co/Qwen/Qwen3-0.6B/blob/main/tokenizer.json, without the rule for English contractions.
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"

CHAT_TEMPLATE = (
    "{%- for message in messages %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def train_tokenizer(traces: Iterable[TrainingTrace], context_length: int) -> PreTrainedTokenizerFast:
    """Train the merges on the texts of the traces."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    specials = [PAD, START_OF_TURN, END_OF_TURN]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(specials) - len(VISIBLE),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(_texts(traces), trainer)
    bpe.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in specials])
    bpe.add_tokens([AddedToken(token, normalized=False, special=False) for token in VISIBLE])
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        eos_token=END_OF_TURN,
        chat_template=CHAT_TEMPLATE,
        model_max_length=context_length,
        clean_up_tokenization_spaces=False,
    )


def _texts(traces: Iterable[TrainingTrace]) -> Iterator[str]:
    for trace in traces:
        yield trace.question
        yield "system\nUse Python.user\nThink step by step.assistant\n"
        for segment in trace.segments:
            text = segment.text if segment.by_model else write_output(segment.text)
            for token in (*VISIBLE, END_OF_TURN):
                text = text.replace(token, "")
            yield text
