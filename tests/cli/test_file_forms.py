"""Every reader of a user's file, with every form of file: it is read as what it is, or refused with its name."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from deepmath_generator.prompt_template import PromptTemplate
from deepmath_trainer.run_config_parser import parse_config

from deepmath.access.tokens import read_clients, read_token
from deepmath.cli.commands.train import _config_source
from deepmath.cli.pair_file import read_pairs
from deepmath.cli.question_file import load_questions
from deepmath.clients.model_files import ADAPTER_CONFIG, ADAPTER_WEIGHTS, model_of_adapter
from deepmath.errors import InvalidRequest
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.evaluation.published_results import read_published
from deepmath.serving.service_config import ServiceConfig, load
from deepmath.user_files import read_source, read_text

TEXT = "½ é"


class Reader(NamedTuple):
    """Reads the file `suffix` names, whose content is `content`, and returns TEXT from it."""

    suffix: str
    content: str
    read: Callable[[str], str]
    wide: bool = True
    """Whether it reads UTF-16."""


def question(file: str) -> str:
    for found in load_questions(file):
        if found.error:
            raise InvalidRequest(found.error)
    return found.text


def problem(file: str) -> str:
    (found,) = find_benchmark(file).problems()
    return found.text


def pair(file: str) -> str:
    gold = ""
    for batch in read_pairs(file):
        for found in batch:
            gold = found.gold
            if found.error:
                raise InvalidRequest(found.error)
    return gold


def configuration(file: str) -> str:
    source = _config_source(file)
    if "recipe" in source:
        raise InvalidRequest(f"no recipe {file}")
    return parse_config(source["config_yaml"]).data.dataset


def service(file: str) -> str:
    try:
        return load(ServiceConfig, "test", ["--config", file]).listen
    except SystemExit:
        raise InvalidRequest(f"see stderr: {file}") from None


def adapter(file: str) -> str:
    Path(file).with_name(ADAPTER_WEIGHTS).touch()
    return model_of_adapter(str(Path(file).parent))


ROW = json.dumps({"problem": TEXT, "answer": "1"}, ensure_ascii=False)
SHA256 = hashlib.sha256(b"x").hexdigest()
READERS = {
    "exec": Reader(".py", f"\n# {TEXT}\n", lambda file: read_source(file).strip("\n# ")),
    "solve --file": Reader(".jsonl", f"\n{ROW}\n", question),
    "grade --file": Reader(".jsonl", json.dumps({"gold": TEXT, "answer": ""}, ensure_ascii=False) + "\n", pair, False),
    "dataset.jsonl": Reader(".jsonl", f"{ROW}\n", problem),
    "dataset.json": Reader(".json", f"[\n{ROW}\n]\n", problem),
    "dataset.csv": Reader(".csv", f'problem,answer\n"{TEXT}",1\n', problem),
    "train --config": Reader(".yaml", f"model: x\ndata:\n  dataset: {TEXT}\n", configuration),
    "serve --config": Reader(".toml", f'\nlisten = "unix:{TEXT}"\n', lambda file: service(file).removeprefix("unix:")),
    "--prompt": Reader(".toml", f'agent = "a"\nplain = "{TEXT}"\n', lambda file: PromptTemplate.load("", file).plain),
    "--tokens": Reader(
        ".toml",
        f'[clients.a]\n# {TEXT}\nsha256 = "{SHA256}"\nscopes = ["execute"]\n',
        lambda file: TEXT * len(read_clients(Path(file))),
    ),
    "--token-file": Reader("", "deepmath_x\n", lambda file: read_token(Path(file)).replace("deepmath_x", TEXT)),
    "--published": Reader(
        ".json",
        json.dumps({"source": TEXT}, ensure_ascii=False, indent=1),
        lambda file: read_published(Path(file)).source,
    ),
    "adapter": Reader(".json", json.dumps({"base_model_name_or_path": TEXT}, ensure_ascii=False, indent=1), adapter),
}
NAMES = {"adapter": ADAPTER_CONFIG}
MARKS = {"utf-8": b"", "utf-8-sig": b"", "utf-16": b"", "utf-16-be": b"\xfe\xff", "utf-32": b""}


@pytest.fixture(params=READERS)
def name(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def file(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    return tmp_path / NAMES.get(name, f"file{READERS[name].suffix}")


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", MARKS)
def test_text_in_any_unicode_encoding_is_read(name: str, file: Path, encoding: str, newline: str) -> None:
    reader = READERS[name]
    file.write_bytes(MARKS[encoding] + reader.content.replace("\n", newline).encode(encoding))
    if reader.wide or encoding.startswith("utf-8"):
        assert reader.read(str(file)) == TEXT
    else:
        with pytest.raises(InvalidRequest):
            reader.read(str(file))


def damaged(content: str) -> dict[str, bytes]:
    return {
        "latin-1": content.replace(TEXT, "é").encode("latin-1") + b"\n#\xe9",
        "NUL": content.replace("\n", "\0\n").encode() if "\n" in content else content.encode() + b"\0",
        "UTF-16 without a mark": content.encode("utf-16-le"),
        "empty": b"",
        "binary": b"\x89PNG\r\n\x1a\n" + bytes(range(256)),
    }


@pytest.mark.parametrize("form", damaged("x"))
def test_any_other_content_is_refused_with_the_name_of_the_file(name: str, file: Path, form: str) -> None:
    file.write_bytes(damaged(READERS[name].content)[form])
    try:
        text = READERS[name].read(str(file))
    except InvalidRequest as error:
        assert any(part in str(error) for part in (str(file), str(file.parent), "configuration"))  # noqa: PT017
    else:
        assert form == "empty"
        assert name in ("exec", "grade --file", "serve --config", "--tokens"), text


@pytest.mark.parametrize("form", ["missing", "directory", "loop", "no directory", "too long", "home"])
def test_what_is_no_file_is_refused(name: str, file: Path, form: str) -> None:
    path = str(file)
    if form == "directory":
        file.mkdir()
    elif form == "loop":
        file.symlink_to(file)
    elif form == "no directory":
        file.parent.joinpath("x").touch()
        path = f"{file.parent}/x/{file.name}"
    elif form == "too long":
        path = f"{file.parent}/{'x' * 300}{file.suffix}"
    elif form == "home":
        path = f"~no-such-user/{file.name}"
    if name == "adapter" and form in ("no directory", "too long", "home"):
        return
    if name == "--published" and form in ("missing", "home"):
        return  # no file: no results
    with pytest.raises(InvalidRequest):
        READERS[name].read(path)


def test_text_reader_is_the_same_for_all(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(b"a\r\nb")
    assert read_text(file) == read_text(str(file)) == read_source(file)
