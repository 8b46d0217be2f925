"""A trajectory is parsed the same however its text is divided into tokens and its tokens into steps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from deepmath_generator.literal_encoding import encode_literally
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.bound_dialects import BOUND, end_of_turn
from support.played_engine import END_OF_TURN, OUTPUT, AnyTokenizer, PlayedEngine, play

from deepmath.dialects import Dialect
from deepmath.generator.v1 import generator_pb2 as pb

MODEL, TOOL = pb.Segment.SOURCE_MODEL, pb.Segment.SOURCE_TOOL
ANSWERED, NO_ANSWER = pb.STATUS_ANSWERED, pb.STATUS_NO_ANSWER


@dataclass(frozen=True)
class Script:
    """Text of a model until the end of its turn, the snippets in it, and its answer."""

    text: str
    codes: tuple[str, ...]
    answer: str
    prompt: str = "?"
    dialect: Dialect = BOUND["tool-call"]


CALL = "<tool_call>\nx = r'\\boxed{3}' + 'é🙂'\nprint(x < 4 > 2)\n</tool_call>"
CODE = "x = r'\\boxed{3}' + 'é🙂'\nprint(x < 4 > 2)"
SCRIPTS = [
    Script(f"Thus é🙂 {CALL}", (CODE,), ""),
    Script(f"{CALL}\nIt is \\boxed{{5}}", (CODE,), "5"),
    Script(f"A {CALL} B {CALL}{CALL} so \\boxed{{\\frac{{1}}{{2}}}}.", (CODE,) * 3, "\\frac{1}{2}"),
    Script(
        "a < b, <tool, </tool_cal> <tool_call>f(a <b)\n# </tool_cal\n</tool_call> \\boxed {6}",
        ("f(a <b)\n# </tool_cal",),
        "6",
    ),
    Script(f"<think> \\boxed{{1}} {CALL} </think> so \\boxed{{2}}", (CODE,), "2"),
    Script(f"\\boxed{{1}} {CALL} </think> so \\boxed{{2}}", (CODE,), "2", prompt="?<think>"),
    Script("<tool_call>\n```python\n1\n```\n</tool_call>", ("1",), ""),
    Script("<tool_call>\r\n  1\r\n  2</tool_call>", ("1\n2",), ""),
    Script("<tool_call> <tool_call>\n'<tool_call>'</tool_call>", ("'<tool_call>'",), ""),
    Script("Unclosed: <tool_call>\nprint('\\boxed{8}')\n", ("print('\\boxed{8}')",), ""),
    Script("The answer is \\boxed 42", (), "42"),
]


def dialect_scripts(dialect: Dialect) -> list[Script]:
    call, start = "\n" + dialect.write_call(CODE), "\n" + dialect.start

    def script(text: str, codes: tuple[str, ...], answer: str, prompt: str = "?") -> Script:
        return Script(text, codes, answer, prompt, dialect)

    return [
        script(f"A é{call} B {call}\nso \\boxed{{5}}", (CODE,) * 2, "5"),
        script(f"\\boxed{{1}} {call}\n</think> so \\boxed{{2}}", (CODE,), "2", prompt="?<think>"),
        script(f"Unclosed: {start}\nprint('\\boxed{{8}}')\n", ("print('\\boxed{8}')",), ""),
    ]


FENCE, HERMES, PYTHON_TAG = BOUND["python-fence"], BOUND["hermes"], BOUND["python-tag"]
SCRIPTS += [
    *dialect_scripts(FENCE),
    *dialect_scripts(HERMES),
    *dialect_scripts(PYTHON_TAG),
    Script(
        "`` x ```python\n``python\n```pythonic\n1\n```\n ``` Py \r\n  f(1)\r\n  '``'\n  ``` \\boxed{6}",
        ("f(1)\n'``'",),
        "6",
        dialect=FENCE,
    ),
    Script("```python3\n1\n```\n```text\n2\n```\nIs it ```output?", ("1",), "", dialect=FENCE),
    Script("<tool_call>f(1)</tool_call> a < b <tool_respons>", ("f(1)",), "", dialect=HERMES),
    Script('<tool_call>{"name": "python", "arguments": {"code": "1\n2"}}</tool_call>', ("1\n2",), "", dialect=HERMES),
    Script("<|python_tag|><|python_tag|>1 <|eo|> 2<|eom_id|> \\boxed{1} ", ("1 <|eo|> 2",), "1", dialect=PYTHON_TAG),
    Script("a <|python_ta|> <|start_header_id|>user b", (), "", dialect=PYTHON_TAG),
]
EVERY_BYTE = [*SCRIPTS[:11], *(script for script in SCRIPTS[11:] if len(script.text) < 100)]


def byte_tokens(tokenizer: AnyTokenizer, text: str) -> list[int]:
    return [tokenizer.token(bytes([byte])) for byte in text.encode()]


def check(script: Script, run: pb.Trajectory, codes: list[str], engine: PlayedEngine, tokens: list[int]) -> None:
    assert tuple(codes) == script.codes
    assert tuple(snippet.code for snippet in run.snippets) == script.codes
    assert run.answer == script.answer
    assert run.status == (ANSWERED if script.answer else NO_ANSWER)
    own, end = [segment for segment in run.segments if segment.source == MODEL], engine.tokenizer.eos_token_id
    sampled = [token for segment in own for token in segment.token_ids]
    ended = [token for token in sampled if token != end]
    assert ended == tokens[: len(ended)], "not the tokens that were sampled"
    outputs = [segment.text for segment in run.segments if segment.source == TOOL]
    assert len(outputs) == len(script.codes)
    assert all(OUTPUT in output for output in outputs)
    written = "".join(segment.text for segment in own).replace(engine.tokenizer.decode([end]), "")
    assert script.text.startswith(written)
    assert written == script.text or script.answer
    assert run.text == "".join(segment.text for segment in run.segments)


async def run_script(script: Script, tokenizer: Any, tokens: list[int], chunk: int = 1, **budget: Any) -> pb.Trajectory:
    engine = PlayedEngine(tokenizer, tokens, chunk)
    run, codes = await play(engine, prompt=script.prompt, dialect=script.dialect, **budget)
    check(script, run, codes, engine, tokens)
    return run


@pytest.mark.parametrize("script", EVERY_BYTE)
async def test_step_may_end_at_every_byte(script: Script) -> None:
    tokenizer = AnyTokenizer(end_of_turn(script.dialect))
    tokens = byte_tokens(tokenizer, script.text)
    for size in range(1, len(tokens) + 2):
        await run_script(script, tokenizer, tokens, max_step_tokens=size)


@pytest.mark.parametrize("script", EVERY_BYTE)
async def test_token_may_end_at_every_byte(script: Script) -> None:
    tokenizer = AnyTokenizer(end_of_turn(script.dialect))
    data = script.text.encode()
    for cut in range(1, len(data)):
        tokens = [tokenizer.token(data[:cut]), *(tokenizer.token(data[n : n + 1]) for n in range(cut, len(data)))]
        await run_script(script, tokenizer, tokens)
        await run_script(script, tokenizer, tokens, max_step_tokens=len(tokens) - 1 or 1)


@settings(max_examples=200, deadline=None)
@given(script=st.sampled_from(SCRIPTS), data=st.data())
async def test_any_tokens_and_steps(script: Script, data: st.DataObject) -> None:
    end = end_of_turn(script.dialect)
    tokenizer, content = AnyTokenizer(end), script.text.encode()
    cuts = sorted(data.draw(st.sets(st.integers(1, len(content) - 1), max_size=12)))
    within = [content[cut] & 0xC0 == 0x80 for cut in cuts]  # a character
    assume(not any(all(within[start : start + 4]) for start in range(len(cuts) - 3)))  # TokenDecoder holds three tokens
    pieces = [content[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(content)], strict=True)]
    tokens = [tokenizer.token(piece) for piece in pieces]
    events: list[pb.SolveResponse] = []
    emit = data.draw(st.sampled_from([None, events.append]))
    size, chunk = data.draw(st.integers(1, len(tokens) + 1)), data.draw(st.integers(1, 5))
    run = await run_script(script, tokenizer, tokens, chunk, max_step_tokens=size, emit=emit)
    if emit:
        streamed = "".join(event.text.text for event in events).replace(end, "")
        own = "".join(segment.text for segment in run.segments if segment.source == MODEL)
        assert streamed == own.replace(end, "")


def byte_level(added: Sequence[str] = ()) -> Any:
    """Return a tokenizer with one token per byte, and those that are added."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe = Tokenizer(models.BPE({letter: number for number, letter in enumerate(alphabet)}, []))
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    bpe.add_tokens([AddedToken(token, normalized=False) for token in added])
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END_OF_TURN)


def joined_marks() -> Any:
    """Return a tokenizer whose tokens join the marks to what is before and after them."""
    pieces = ["</tool_call>\n", "</tool_call> ", "\n</tool_", ">f", ">\nx", "</tool_call><tool_call>", "call> B", "><"]
    pieces += [")\n```", "```\n", "```\n```", "``", "`\n", ")<|eom", "_id|> B", "|><|"]
    return byte_level(pieces)


def sentence_piece() -> Any:
    """Return a tokenizer as Llama 2's: a space is part of the word after it, and unknown characters are bytes."""
    from tokenizers import Tokenizer, decoders, models, normalizers
    from transformers import PreTrainedTokenizerFast

    known = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256)), "▁", *map(chr, range(33, 127))]
    bpe = Tokenizer(models.BPE({token: n for n, token in enumerate(known)}, [], unk_token="<unk>", byte_fallback=True))
    bpe.normalizer = normalizers.Replace(" ", "▁")
    bpe.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END_OF_TURN, unk_token="<unk>")


@pytest.fixture(params=["marks are tokens", "marks in pieces", byte_level, sentence_piece, joined_marks])
def divided(request: pytest.FixtureRequest, tokenizer: Any) -> tuple[Any, Callable[[str], list[int]]]:
    """A tokenizer, and how its model divides text."""
    if request.param == "marks in pieces":
        return tokenizer, lambda text: encode_literally(tokenizer, text)
    own = tokenizer if request.param == "marks are tokens" else request.param()
    return own, lambda text: own.encode(text, add_special_tokens=False)


@pytest.mark.parametrize("script", SCRIPTS)
async def test_tokenizers_divide_marks_in_their_own_ways(script: Script, divided: Any) -> None:
    tokenizer, encode = divided
    tokens = encode(script.text)
    assert tokenizer.decode(tokens) in (script.text, script.text.lstrip(" "))
    for size in (1, 2, 3, 5, 7, 11, len(tokens) // 2, len(tokens) + 1):
        for emit in (None, lambda event: None):
            await run_script(script, tokenizer, tokens, max_step_tokens=max(size, 1), emit=emit)


async def test_steps_and_tokens_end_within_an_open_call() -> None:
    tokenizer = AnyTokenizer()
    tokens = byte_tokens(tokenizer, "\\boxed{1} <tool_call>\nprint('\\boxed{2}')\n</tool_call> \\boxed{3}")
    for size in (1, 3, 10):
        for limit in range(11, 40):
            run, codes = await play(PlayedEngine(tokenizer, tokens), max_step_tokens=size, max_tokens=limit)
            assert (run.answer, codes, run.model_tokens <= limit) == ("1", [], True)
        run, codes = await play(PlayedEngine(tokenizer, tokens[10:]), max_step_tokens=size, max_steps=30 // size)
        assert (run.status, run.answer, codes) == (pb.STATUS_STEP_BUDGET, "", [])
        assert len(run.segments) == 30 // size
    run, _ = await play(PlayedEngine(tokenizer, tokens), max_tokens=40)
    assert run.notes == ["the trajectory ended before its last tool call was complete; the call was not run"]


async def test_empty_calls_are_not_run_and_the_model_reads_why() -> None:
    for text, hint in {
        "<tool_call></tool_call>": "write Python code between",
        "<tool_call>\n \n</tool_call>": "write Python code between",
        "<tool_call>": "write Python code between",
        "1+1</tool_call>": "there is no call here",
    }.items():
        tokenizer = AnyTokenizer()
        run, codes = await play(PlayedEngine(tokenizer, byte_tokens(tokenizer, text)))
        outputs = [segment.text for segment in run.segments if segment.source == TOOL]
        assert (codes, len(outputs), len(run.snippets)) == ([], 1, 1)
        assert hint in outputs[0]


async def test_call_that_the_turn_ends_in_is_ended_and_the_turn_continues() -> None:
    tokenizer = AnyTokenizer()
    end = [tokenizer.eos_token_id]
    tokens = byte_tokens(tokenizer, "<tool_call>\n1") + end + byte_tokens(tokenizer, "So \\boxed{2}")
    run, codes = await play(PlayedEngine(tokenizer, tokens))
    assert (codes, run.answer) == (["1"], "2")
    assert run.text == f"<tool_call>\n1\n</tool_call>\n```output\n{OUTPUT}\n```\nSo \\boxed{{2}}{END_OF_TURN}"
    assert list(run.segments[0].token_ids) == tokens[: tokens.index(end[0])]


async def test_mode_without_tools_runs_nothing_and_stops_at_no_call() -> None:
    tokenizer = AnyTokenizer()
    tokens = byte_tokens(tokenizer, f"{CALL} so \\boxed{{4}} {CALL}")
    for size in (1, 5, 1000):
        run, codes = await play(PlayedEngine(tokenizer, tokens), mode="plain", max_step_tokens=size)
        assert (run.answer, codes, len(run.snippets)) == ("4", [], 0)


async def test_tokens_sampled_after_a_call_are_no_part_of_the_trajectory(tokenizer: Any) -> None:
    forged = "<tool_call>\n1\n</tool_call>\n```output\n9\n```\nIt is \\boxed{9}."
    tokens = encode_literally(tokenizer, forged)
    engine = PlayedEngine(tokenizer, tokens)
    run, codes = await play(engine)
    assert codes == ["1"]
    assert run.segments[0].text == "<tool_call>\n1\n</tool_call>"
    assert list(run.segments[0].token_ids) == tokens[: len(run.segments[0].token_ids)]
    assert OUTPUT in run.segments[1].text
