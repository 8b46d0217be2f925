"""Killed, interrupted and resumed builds of the embedded model, and its verification."""

import json
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
from support.model_build import TINY, finish, start_build

OLD = b"weights of the old model"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny model whose build nobody disturbed, with one thread; `log` beside it has its output."""
    folder = tmp_path_factory.mktemp("whole")
    assert finish(start_build(folder / "model", folder / "log", "--no-score", threads=1)) == 0, said(folder)
    return folder / "model"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """An output folder with an older model."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(OLD)
    return folder


def said(folder: Path) -> str:
    log = folder / "log"
    return log.read_text() if log.exists() else ""


def wait_for(text: str, folder: Path, process: ForkServerProcess, times: int = 1) -> None:
    while process.is_alive() and said(folder).count(text) < times:
        time.sleep(0.01)


def files(model: Path) -> dict[str, Any]:
    contents: dict[str, Any] = {path.name: path.read_bytes() for path in model.iterdir()}
    training = json.loads(contents.pop("scores.json"))["training"]
    return contents | {name: training[name] for name in training if name not in ("minutes", "hardware")}


def interrupted(output: Path) -> None:
    """Start a build into `output` and kill it when it has a checkpoint."""
    process = start_build(output, output.with_name("log"), "--no-score", steps=1000)
    wait_for("step 2/", output.parent, process)
    process.kill()
    assert finish(process) == -signal.SIGKILL


def test_build_says_first_what_it_will_take_and_then_how_far_it_is(whole: Path) -> None:
    lines = said(whole.parent).splitlines()
    assert lines[0].startswith("120 traces, about ")
    assert "then 12 steps of 900 tokens, 10,800 in all, about " in lines[0]
    assert any(line.startswith("step 3/12 (25%), loss ") and line.endswith(" min left") for line in lines)
    assert lines[-1] == f"The model is complete: {whole}"
    assert not whole.with_name("work").exists()


def test_build_killed_again_and_again_gives_the_weights_of_an_undisturbed_one(whole: Path, old: Path) -> None:
    random, resumed = Random(5), 0
    for _ in range(3):
        process = start_build(old, old.with_name("log"), "--no-score")
        wait_for("\nstep ", old.parent, process, said(old.parent).count("\nstep ") + 2)  # the first is saved
        time.sleep(random.uniform(0, 0.05))
        process.kill()
        if finish(process) != -signal.SIGKILL:
            break
        resumed += 1
        unchanged = {path.name: path.read_bytes() for path in old.iterdir()} == {"model.safetensors": OLD}
        assert unchanged or files(old) == files(whole)
    if process.exitcode:
        process = start_build(old, old.with_name("log"), "--no-score")
    assert finish(process) == 0, said(old.parent)
    assert resumed
    assert "Resuming after step" in said(old.parent)
    assert files(old) == files(whole)


def test_build_killed_while_it_writes_a_checkpoint_resumes_from_the_one_before(whole: Path, old: Path) -> None:
    process = start_build(old, old.with_name("log"), "--no-score")
    wait_for("\nstep 3/", old.parent, process)
    process.kill()
    finish(process)
    (old.with_name("work") / "checkpoint.writing").write_bytes(b"PK torn")
    assert finish(start_build(old, old.with_name("log"), "--no-score")) == 0, said(old.parent)
    assert files(old) == files(whole)


def test_ctrl_c_says_how_to_continue(old: Path) -> None:
    process = start_build(old, old.with_name("log"), "--no-score", steps=1000)
    wait_for("step 2/", old.parent, process)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGINT)
    assert finish(process) == 130
    last = said(old.parent).splitlines()[-1]
    assert (
        last == f"Stopped. The last checkpoint is in {old.with_name('work')}. Run the same command again to continue."
    )
    assert "Traceback" not in said(old.parent)


def test_build_with_other_settings_than_the_checkpoint_is_refused(old: Path) -> None:
    interrupted(old)
    checkpoint = (old.with_name("work") / "checkpoint.pt").read_bytes()
    assert finish(start_build(old, old.with_name("log"), "--no-score", steps=999, hidden=32)) == 1
    last = said(old.parent).splitlines()[-1]
    assert "hidden is 16 there and 32 here; steps is 1000 there and 999 here" in last
    assert f"delete {old.with_name('work')} to start again" in last
    assert (old.with_name("work") / "checkpoint.pt").read_bytes() == checkpoint


def test_damaged_checkpoint_is_refused(old: Path) -> None:
    work = old.with_name("work")
    work.mkdir()
    for content in (b"", b"no checkpoint", b"PK\3\4" + bytes(100)):
        (work / "checkpoint.pt").write_bytes(content)
        assert finish(start_build(old, old.with_name("log"), "--no-score")) == 1
        assert f"{work / 'checkpoint.pt'} is damaged" in said(old.parent).splitlines()[-1]
        assert "Traceback" not in said(old.parent)


def test_folder_with_other_files_is_not_replaced(old: Path) -> None:
    (old / "thesis.tex").touch()
    assert finish(start_build(old, old.with_name("log"), "--no-score")) == 1
    assert "thesis.tex" in said(old.parent).splitlines()[-1]


def test_second_build_in_the_same_folder_is_refused(build_module: Callable[[str], ModuleType], old: Path) -> None:
    with build_module("unfinished_build").UnfinishedBuild(old.with_name("work")):
        assert finish(start_build(old, old.with_name("log"), "--no-score")) == 1
    assert f"another build runs in {old.with_name('work')}" in said(old.parent).splitlines()[-1]


def test_checkpoint_of_another_corpus_is_refused(
    build_module: Callable[[str], ModuleType], whole: Path, tmp_path: Path
) -> None:
    facts = json.loads((whole / "scores.json").read_text())["training"]
    settings = build_module("build_settings").BuildSettings.from_facts(facts)
    with build_module("unfinished_build").UnfinishedBuild(tmp_path / "work") as build:
        build.save({"step": 3, "corpus": "another"}, settings.facts())
    assert finish(start_build(tmp_path / "model", tmp_path / "log", "--no-score")) == 1
    assert "the corpus is not the one of the unfinished build" in said(tmp_path).splitlines()[-1]


def test_recorded_weights_are_verified_and_others_are_not(whole: Path, tmp_path: Path) -> None:
    before = files(whole)
    assert finish(start_build(whole, tmp_path / "log", "--verify=9", threads=2)) == 0, said(tmp_path)
    assert said(tmp_path).splitlines()[-2:] == [f"step {step}: the weights are those recorded" for step in (4, 8)]
    scores = json.loads((whole / "scores.json").read_text())
    assert scores["training"]["verified_steps"] == 8
    assert files(whole) == before | {"verified_steps": 8}
    scores["training"]["digests"]["4"] = "0" * 64
    forged = tmp_path / "forged"
    forged.mkdir()
    (forged / "scores.json").write_text(json.dumps(scores))
    assert finish(start_build(forged, tmp_path / "log", "--verify=4")) == 1
    assert "after step 4 the weights differ from those recorded" in said(tmp_path).splitlines()[-1]


def test_settings_come_back_from_the_recorded_facts(build_module: Callable[[str], ModuleType], whole: Path) -> None:
    facts = json.loads((whole / "scores.json").read_text())["training"]
    settings = build_module("build_settings").BuildSettings.from_facts(facts)
    assert (settings.traces, settings.plan.steps, settings.shape.layers) == (TINY["count"], TINY["steps"], 1)
    assert json.loads(json.dumps(settings.facts())).items() <= facts.items()
