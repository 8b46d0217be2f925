"""Questions of a dataset or a request: texts, and chats with one question."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepmath.data.question_text import question_text
from deepmath.errors import InvalidRequest

KEYS = st.sampled_from(["role", "content", "type", "text"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text"]), inner | st.sampled_from(["user", "text"])
        )
    ),
    max_leaves=8,
)


def message(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (" What is 1 + 1?\n", "What is 1 + 1?"),
        (None, ""),
        ("", ""),
        ([message("user", "1 + 1?")], "1 + 1?"),
        ([message("system", "Be brief."), message("user", "1 + 1?\n")], "Be brief.\n\n1 + 1?"),
        ([message("developer", "a"), message("system", ""), message("user", "b")], "a\n\nb"),
        ([message("user", [{"type": "text", "text": "1 +"}, {"type": "text", "text": "1?"}])], "1 +\n1?"),
        ([{"role": "user", "content": "x", "name": "me"}], "x"),
    ],
)
def test_text_and_chat_are_read(cell: object, text: str) -> None:
    assert question_text(cell) == text


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (42, "the question is a number; write the problem as one text"),
        (4.5, "a number"),
        (True, "a truth value"),
        ({"text": "1 + 1?"}, "an object"),
        ([], "an empty list"),
        (["1 + 1?"], "a list whose entry 1 is not a chat message"),
        (
            [message("user", "a"), message("assistant", "b")],
            r"a conversation \(user, assistant\), which cannot be solved",
        ),
        ([message("user", "a"), message("user", "b")], "a conversation"),
        ([message("system", "a")], "a conversation"),
        ([message("user", None)], "message 1 of the question has nothing as its content"),
        ([message("user", 7)], "a number as its content"),
        ([message("user", [{"type": "image_url", "image_url": "x"}])], "a part of type 'image_url'; only text is read"),
        ([message("user", ["x"])], "a part of type"),
        ([{"role": ["user"], "content": "x"}], "entry 1 is not a chat message"),
        ("a\ud800b", "a lone surrogate, U.D800, at character 1"),
    ],
)
def test_anything_else_is_refused_and_named(cell: object, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        question_text(cell)


@given(JSON)
def test_no_value_is_printed_as_python(cell: Any) -> None:
    try:
        text = question_text(cell)
    except InvalidRequest:
        return
    assert (
        cell is None
        or isinstance(cell, str)
        or all(part in json.dumps(cell, ensure_ascii=False) for part in text.split())
    )


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".parquet"])
def test_dataset_of_chats_is_read(tmp_path: Path, suffix: str) -> None:
    import datasets

    from deepmath.evaluation.benchmark_registry import find_benchmark

    rows = [{"problem": [message("system", "Be brief."), message("user", "1 + 1?")], "answer": "2"}]
    file = tmp_path / f"chats{suffix}"
    if suffix == ".parquet":
        datasets.Dataset.from_list(rows).to_parquet(file)
    else:
        file.write_text(json.dumps(rows if suffix == ".json" else rows[0]))
    (problem,) = find_benchmark(str(file)).problems()
    assert problem.text == "Be brief.\n\n1 + 1?"
