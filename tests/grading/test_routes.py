"""One semantics: a pair has the same verdict in grade, solve, eval, report, training and the vote of Solve."""

import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from deepmath_trainer.batch_sampler import BatchSampler
from deepmath_trainer.policy_evaluation import evaluate_policy
from deepmath_trainer.run_config import TrainConfig
from deepmath_trainer.trajectory_journal import TrajectoryJournal

from deepmath.cli.question_file import load_questions
from deepmath.cli.result_grader import ResultGrader
from deepmath.cli.solve_result import SolveResult
from deepmath.data.dataset_problem import DatasetProblem
from deepmath.evaluation.answer_classes import judge_problems
from deepmath.evaluation.benchmark_registry import find_benchmark
from deepmath.evaluation.evaluation_files import read_samples
from deepmath.evaluation.evaluation_plan import EvaluationConfiguration, EvaluationPlan
from deepmath.evaluation.evaluation_run import EvaluationRun
from deepmath.evaluation.evaluation_sampler import EvaluationSampler
from deepmath.evaluation.sample_sets import load_sample_sets
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verifier import Verifier
from deepmath.grading.vote_tally import tally_votes

Verdicts = dict[str, bool | None]
"""By question."""

# As in a dataset's JSON: gold, the content of a model's box, verdict.
PAIRS: list[tuple[Any, str, bool | None]] = [
    ("42", "42", True),
    (42, "42.0", True),
    (0.5, r"\frac{1}{2}", True),
    (["70"], "70", True),
    (["3", "5"], "5, 3", True),
    (["3", "5"], "3", False),
    (["1/2", "0.5"], "0.5", True),
    (True, r"\text{True}", True),
    ("1/2", "0.5", True),
    ("1/3", "0.33", False),
    ("10,000", "10000", True),
    ("$7$", "7", True),
    ("7", "", False),
    ("7", "8", False),
    ("7", "17", False),
    ("-7", "7", False),
    (r"\text{Yes}", "yes", True),
    (r"\text{Yes}", "No", False),
    ("x+1", "1+x", True),
    ("x+1", "x+2", False),
    (r"\sqrt{8}", r"2\sqrt{2}", True),
    (r"\sqrt{8}", r"2\sqrt{3}", False),
    (r"\frac{\pi}{4}", r"\pi/4", True),
    (r"\frac{\pi}{4}", r"\frac{\pi}{3}", False),
    ("(1,2)", "(1, 2)", True),
    ("(1,2)", "(2,1)", False),
    (r"\{1,2\}", r"\{2,1\}", True),
    ("[0,1]", r"x \in [0,1]", True),
    ("[0,1]", "(0,1)", False),
    (r"5\text{ cm}", "5", True),
    (r"5\text{ cm}", r"5\text{ m}", False),
    (r"90^\circ", "90", True),
    (r"50\%", "50", True),
    ("x^2+2x+1", "(x+1)^2", True),
    ("x^2+2x+1", "(x-1)^2", False),
    ("7", r"\frac{", False),
    ("7", "the answer is seven and a half", False),
    ("7", "9" * 1500, False),
    (None, "7", None),
    ("???", "7", None),
]
QUESTIONS = [f"Question {number}?" for number in range(len(PAIRS))]
EXPECTED: Verdicts = dict(zip(QUESTIONS, (verdict for *_, verdict in PAIRS), strict=True))
ANSWERS = dict(zip(QUESTIONS, (answer for _, answer, _ in PAIRS), strict=True))


@pytest.fixture(scope="module")
def verifier(patient: Verifier) -> Verifier:
    return patient


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    file = tmp_path / "dataset.jsonl"
    rows = ({"problem": text, "answer": gold} for text, (gold, *_) in zip(QUESTIONS, PAIRS, strict=True))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def problems(dataset: Path) -> list[DatasetProblem]:
    return find_benchmark(str(dataset)).problems()


def trajectory(question: str) -> pb.Trajectory:
    return pb.Trajectory(answer=ANSWERS[question], text="", status=pb.STATUS_ANSWERED)


class ScriptedReplicas:
    """Generators whose answer to each question is known: a client of `eval`, and the replicas of a training run."""

    offset = 0

    async def rollout(self, prompts: Sequence[pb.RolloutPrompt], *_: object, **__: object) -> list[pb.RolloutResponse]:
        return [
            pb.RolloutResponse(prompt_index=index, id=prompt.id, trajectory=trajectory(prompt.question))
            for index, prompt in enumerate(prompts)
        ]


class ScriptedClient:
    """The same for `eval`, which reads a stream."""

    async def rollout(self, prompts: Sequence[pb.RolloutPrompt], **_: object) -> AsyncIterator[pb.RolloutResponse]:
        for response in await ScriptedReplicas().rollout(prompts):
            yield response


async def test_grade(deepmath: Any) -> None:
    lines = [json.dumps({"gold": gold, "answer": answer}) for gold, answer, _ in PAIRS]
    ended = await deepmath("grade", "--json", "--file", "-", stdin="\n".join(lines))
    verdicts = [json.loads(line)["verdict"] for line in ended.out.splitlines()]
    assert dict(zip(QUESTIONS, verdicts, strict=True)) == EXPECTED


async def test_solve(verifier: Verifier, dataset: Path) -> None:
    found: Verdicts = {}
    for question in load_questions(str(dataset)):
        result = SolveResult(question, vote=pb.Vote(answer=ANSWERS[question.text]))
        await ResultGrader(verifier).grade(result)
        found[question.text] = result.correct
    assert found == EXPECTED


async def test_eval_and_report(verifier: Verifier, problems: list[DatasetProblem], tmp_path: Path) -> None:
    plan = EvaluationPlan(
        model="scripted",
        problems={"dataset": problems},
        configurations=(EvaluationConfiguration("+Agent", "agent"),),
        samples=1,
        sampling=pb.Sampling(),
        budget=pb.Budget(),
    )
    with EvaluationRun(tmp_path / "run", plan.settings()) as run:
        await EvaluationSampler(cast(Any, ScriptedClient()), run, plan, verifier).draw()
    questions = {problem.id: problem.text for problem in problems}
    samples = list(read_samples(tmp_path / "run"))
    assert {questions[one.problem_id]: one.correct for one in samples} == EXPECTED
    assert all(one.reason for one in samples)
    (judged,) = judge_problems(load_sample_sets([tmp_path / "run"]), verifier)
    scored = {text: verdict for text, verdict in EXPECTED.items() if verdict is not None}
    assert {questions[one.problem_id]: one.correct for one in judged} == {text: (ok,) for text, ok in scored.items()}
    assert {questions[one.problem_id]: bool(one.vote(1).credit) for one in judged} == scored


async def test_training(
    verifier: Verifier, problems: list[DatasetProblem], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = TrainConfig.model_validate(
        {
            "model": "tiny-math",
            "rollout": {"groups": len(problems), "samples": 2, "resample_flat": 0},
            "reward": {"accuracy": 1.0, "code": 0.0},
            "optimizer": {"micro_batch": 2},
        }
    )
    replicas = cast(Any, ScriptedReplicas())
    sampler = BatchSampler(config, problems, replicas, TrajectoryJournal(tmp_path / "journal"))
    try:
        batch = await sampler.sample(0, 1.0)
    finally:
        sampler.close()
    assert "have no verdict: there is no gold answer" in caplog.text
    rewards = {group.problem.text: {sample.reward.total for sample in group.samples} for group in batch.groups}
    assert rewards == {text: {None if ok is None else float(ok)} for text, ok in EXPECTED.items()}
    assert {sample.reason is not None for sample in batch.samples} == {True}
    figures = await evaluate_policy(config, problems, replicas, verifier)
    scored = [ok for ok in EXPECTED.values() if ok is not None]
    assert figures["accuracy"] == round(sum(scored) / len(scored), 4)
    assert figures["no_verdict"] == len(EXPECTED) - len(scored)


def test_vote(verifier: Verifier, problems: list[DatasetProblem]) -> None:
    golds = {problem.text: problem.answer for problem in problems}
    for question, correct in EXPECTED.items():
        # The gold answer, given twice as an answer, leads.
        gold, answer = golds[question], ANSWERS[question]
        votes = tally_votes([gold, gold, answer], verifier.verify)
        if correct is None or not answer:
            continue
        assert votes == ([(gold, 3)] if correct and gold != "" else [(gold, 2), (answer, 1)]), question
