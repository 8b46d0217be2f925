"""The workflows for GitHub: valid by actionlint, pinned, with the least permissions, and made of targets that exist."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .manifests import ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
PINNED = re.compile(r"uses: (\./\S+|[\w-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+)$")
# What a job may do beyond reading the sources.
WRITERS = {
    ("release.yml", "images"): {"packages", "id-token", "attestations"},
    ("release.yml", "release"): {"contents", "packages"},
}


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request) -> Path:
    found: Path = request.param
    return found


def parsed(workflow: Path) -> Any:
    return yaml.safe_load(workflow.read_text())


def steps(workflow: Path) -> list[Any]:
    return [step for job in parsed(workflow)["jobs"].values() for step in job.get("steps", [])]


def actionlint(*files: Path) -> subprocess.CompletedProcess[str]:
    beside = Path(sys.executable).with_name("actionlint")
    command = str(beside) if beside.exists() else shutil.which("actionlint")
    if not command:
        pytest.skip("actionlint is not installed")
    return subprocess.run([command, "-no-color", *files], cwd=ROOT, capture_output=True, text=True, check=False)


def test_there_are_workflows_for_changes_and_for_releases() -> None:
    assert [path.name for path in WORKFLOWS] == ["ci.yml", "release.yml"]
    assert {"lint", "fast", "full", "images", "wheels"} <= set(parsed(FOLDER / "ci.yml")["jobs"])


def test_actionlint_accepts_the_workflow(workflow) -> None:
    checked = actionlint(workflow)
    assert (checked.stdout, checked.returncode) == ("", 0)


@pytest.mark.parametrize(
    ("text", "replacement"),
    [
        ("runs-on: ubuntu-24.04", "runs-on: ubuntu-1.04"),
        ("${{ matrix.image }}", "${{ matrix.imag }}"),
        ("contents: read", "contents: all"),
        ("needs: version", "needs: versions"),
        ("timeout-minutes", "timeout-minute"),
    ],
)
def test_actionlint_rejects_mistakes(tmp_path, text: str, replacement: str) -> None:
    broken = tmp_path / "release.yml"
    broken.write_text((FOLDER / "release.yml").read_text().replace(text, replacement))
    assert actionlint(broken).returncode == 1


def test_actions_are_pinned_to_a_commit(workflow) -> None:
    uses = re.findall(r"uses: .*", workflow.read_text())
    assert uses
    assert [line for line in uses if not PINNED.fullmatch(line)] == []


def test_jobs_may_only_read_unless_they_publish(workflow) -> None:
    assert parsed(workflow)["permissions"] == {"contents": "read"}
    for name, job in parsed(workflow)["jobs"].items():
        written = {scope for scope, access in job.get("permissions", {}).items() if access == "write"}
        assert written == WRITERS.get((workflow.name, name), set()), name


def test_checkouts_keep_no_credentials(workflow) -> None:
    checkouts = [step for step in steps(workflow) if "actions/checkout" in step.get("uses", "")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_runs_of_one_branch_do_not_overlap_and_every_job_ends(workflow) -> None:
    assert parsed(workflow)["concurrency"]["group"]
    jobs = [job for job in parsed(workflow)["jobs"].values() if "uses" not in job]
    assert all(0 < job["timeout-minutes"] <= 120 for job in jobs)


def test_scripts_take_outside_values_from_the_environment_only(workflow) -> None:
    """An expression in a script is code in that script."""
    assert [step["run"] for step in steps(workflow) if "${{" in step.get("run", "")] == []


def test_scripts_use_targets_and_programs_of_this_repository(workflow) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    scripts = "\n".join(step.get("run", "") for step in steps(workflow))
    for arguments in re.findall(r"\bmake (.+)", scripts):
        named = {word for word in arguments.split() if re.fullmatch("[a-z-]+", word) and not word.startswith("-")}
        assert named
        assert named <= targets
    for program in re.findall(r"\btools/\w+\.py|\.ci/run", scripts):
        assert (ROOT / program).is_file()
