"""The effect of exit statuses and evictions on the training Job and JobSet, by the rules of Kubernetes and JobSet."""

import re
from itertools import product

import pytest

from deepmath.exit_codes import EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_TERMINATED, EXIT_USAGE

from .manifests import Manifest, render

KILLED = 137
COUNTS, IGNORES, FAILS = "counts", "ignores", "fails"
# Exit status and whether the pod was evicted -> whether the restart counts, is ignored, or there is none.
CASES = [
    (EXIT_USAGE, False, FAILS),
    (EXIT_FAILURE, False, COUNTS),
    (KILLED, False, COUNTS),
    (EXIT_INTERRUPTED, False, IGNORES),
    (EXIT_TERMINATED, False, IGNORES),
    *((status, True, IGNORES) for status in (EXIT_FAILURE, KILLED, EXIT_INTERRUPTED, EXIT_TERMINATED)),
]


def matched(job: Manifest, status: int, evicted: bool) -> tuple[int, str, str] | None:
    """Return number, action and message of the first rule that matches, as the Job controller does."""
    for at, rule in enumerate(job["podFailurePolicy"]["rules"]):
        codes = rule.get("onExitCodes", {"values": []})
        if status in codes["values"]:
            assert codes["operator"] == "In"
            assert codes["containerName"] in [one["name"] for one in job["template"]["spec"]["containers"]]
            what = f"Container {codes['containerName']} for pod deepmath/trainer-x failed with exit code {status}"
        elif evicted and {"type": "DisruptionTarget", "status": "True"} in rule.get("onPodConditions", []):
            what = "Pod deepmath/trainer-x has condition DisruptionTarget"
        else:
            continue
        return at, rule["action"], f"{what} matching {rule['action']} rule at index {at}"
    return None


def jobs_of(overlay: str) -> list[Manifest]:
    return [one for one in render(overlay) if one["metadata"]["name"].endswith("trainer")]


@pytest.mark.parametrize("overlay", ["cpu-demo", "gpu"])
@pytest.mark.parametrize(("status", "evicted", "expected"), CASES)
def test_job_fails_only_for_a_misconfiguration(kustomize_command, overlay: str, status, evicted, expected) -> None:
    (job,) = [one["spec"] for one in jobs_of(overlay) if one["kind"] == "Job"]
    rule = matched(job, status, evicted)
    assert (rule[1] if rule else None) == {COUNTS: None, FAILS: "FailJob", IGNORES: "Ignore"}[expected]
    assert job["template"]["spec"]["restartPolicy"] == "Never", "which a podFailurePolicy requires"


@pytest.mark.parametrize(("at", "case"), list(product((0, 1), CASES)))
def test_set_of_jobs_counts_no_eviction(kustomize_command, at: int, case) -> None:
    status, evicted, expected = case
    (jobs,) = [one["spec"] for one in jobs_of("multi-node") if one["kind"] == "JobSet"]
    job = jobs["replicatedJobs"][at]["template"]["spec"]
    rule = matched(job, status, evicted)
    reason = "PodFailurePolicy" if rule else "BackoffLimitExceeded"
    message = rule[2] if rule else "Job has reached the specified backoff limit"
    actions = [
        one["action"]
        for one in jobs["failurePolicy"]["rules"]
        if reason in one["onJobFailureReasons"]
        and any(re.search(pattern, message) for pattern in one["onJobFailureMessagePatterns"])
    ]
    assert actions == {COUNTS: [], IGNORES: ["RestartJobSetAndIgnoreMaxRestarts"], FAILS: ["FailJobSet"]}[expected]
    assert job["backoffLimit"] == 0, "one pod that ends early restarts all"
