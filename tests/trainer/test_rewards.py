"""Rewards are pure functions of the trajectory; each kind of code use can be gamed only as far as documented."""

import pytest
from deepmath_trainer.rewards import Outcome, outcome, reward
from deepmath_trainer.run_config import RewardConfig
from support.linear_time import assert_linear

from deepmath.dialects import DIALECTS
from deepmath.dialects.output_fence import write_output
from deepmath.executor.v1 import executor_pb2 as executor
from deepmath.generator.v1 import generator_pb2 as pb

MAX_TOKENS = 1000


def ran(
    code: str, value: str | None = None, stdout: str = "", outcome: executor.Outcome.ValueType = executor.OUTCOME_OK
) -> pb.SnippetRun:
    return pb.SnippetRun(code=code, result=executor.SnippetResult(outcome=outcome, value=value, stdout=stdout))


def trajectory(
    *parts: pb.SnippetRun | str, answer: str = "", status: pb.Status.ValueType = pb.STATUS_ANSWERED
) -> pb.Trajectory:
    """Return a trajectory of `parts`, model-written texts and snippets, in segments as the agent loop makes them."""
    segments: list[pb.Segment] = []
    text = ""
    for part in parts:
        if isinstance(part, str):
            text += part
            continue
        shown = "\n".join(filter(None, (part.result.stdout.rstrip("\n"), part.result.value)))
        segments.append(
            pb.Segment(source=pb.Segment.SOURCE_MODEL, text=text + DIALECTS["tool-call"].write_call(part.code))
        )
        segments.append(pb.Segment(source=pb.Segment.SOURCE_TOOL, text=write_output(shown or "(no output)")))
        text = ""
    segments.append(pb.Segment(source=pb.Segment.SOURCE_MODEL, text=text))
    snippets = [part for part in parts if isinstance(part, pb.SnippetRun)]
    whole = "".join(segment.text for segment in segments)
    return pb.Trajectory(
        status=status, answer=answer, segments=segments, text=whole, snippets=snippets, model_tokens=100
    )


def uses(run: pb.Trajectory) -> tuple[bool, bool, bool]:
    made = outcome(run, True)
    return made.called, made.executed, made.used


def test_trajectory_without_a_call_uses_no_code() -> None:
    assert uses(trajectory(r"It is \boxed{5}.", answer="5")) == (False, False, False)


def test_mark_without_a_call_is_not_called() -> None:
    # The end of a call without its start, or an output that the model writes itself: the loop records the rejection.
    rejected = ran("", outcome=executor.OUTCOME_EXCEPTION)
    assert uses(trajectory(rejected, r"\boxed{5}", answer="5")) == (False, False, False)


@pytest.mark.parametrize("code", ["\n", "pass", "# 5"])
def test_call_without_effect_is_called_and_not_executed(code: str) -> None:
    assert uses(trajectory(ran(code), r"\boxed{5}", answer="5")) == (True, False, False)


@pytest.mark.parametrize(
    "failure", [executor.OUTCOME_EXCEPTION, executor.OUTCOME_WALL_TIMEOUT, executor.OUTCOME_POLICY_VIOLATION]
)
def test_failed_call_is_called_and_not_executed_whatever_its_output(failure: executor.Outcome.ValueType) -> None:
    assert uses(trajectory(ran("f()", stdout="5\n", outcome=failure), answer="5")) == (True, False, False)


def test_call_whose_output_is_ignored_is_executed_and_not_used() -> None:
    assert uses(trajectory(ran("1", "1"), r"By hand: \boxed{213}", answer="213")) == (True, True, False)


def test_output_before_a_failure_in_a_later_call_is_used() -> None:
    run = trajectory(ran("2+3", "5"), ran("f()", outcome=executor.OUTCOME_EXCEPTION), r"\boxed{5}", answer="5")
    assert uses(run) == (True, True, True)


@pytest.mark.parametrize(
    ("shown", "answer"),
    [
        (ran("2+3", "5"), "5"),
        (ran("print(2+3)", stdout="5\n"), "5"),
        (ran("x", "16807/7776"), r"\frac{16807}{7776}"),
        (ran("x", "Fraction(1, 2)"), r"\frac12"),
        (ran("x", "0.5"), "1/2"),
        (ran("x", "np.int64(1234)"), "1,234"),
        (ran("x", stdout="first\nx = 42\n"), "42"),
        (ran("x", stdout="Sum: 42\n"), "42"),
        (ran("solve()", "[-2, 3]"), "3"),
        (ran("x", "{3, 4}"), r"\{3, 4\}"),
        (ran("x", "-7"), "-7"),
        (ran("x", "2*x + 1"), "2*x+1"),
    ],
)
def test_output_in_the_answer_is_used(shown: pb.SnippetRun, answer: str) -> None:
    assert outcome(trajectory(shown, rf"\boxed{{{answer}}}", answer=answer), True).used


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("1", "213"),
        ("1", "1.5"),
        ("5", "0.5"),
        ("5", "-5"),
        ("5", "(-5, 2)"),
        ("12", "1,212"),
        ("1", "1,234"),
        ("x", "max"),
        (str(list(range(100))), "42"),
        ("(no output)", "5"),
    ],
)
def test_output_that_is_part_of_a_longer_text_is_not_used(value: str, answer: str) -> None:
    assert not outcome(trajectory(ran("f()", value), rf"\boxed{{{answer}}}", answer=answer), True).used


def test_early_lines_of_a_long_output_are_not_used() -> None:
    printed = "\n".join(map(str, range(100)))
    assert not outcome(trajectory(ran("f()", stdout=printed), answer="42"), True).used
    assert outcome(trajectory(ran("f()", stdout=printed), answer="99"), True).used


def test_output_in_the_code_of_a_later_call_is_used() -> None:
    assert outcome(trajectory(ran("s()", "4227"), ran("pow(3, 4227, 1009)", "548"), answer="1"), True).used


def test_output_in_later_prose_is_used() -> None:
    assert outcome(trajectory(ran("s()", "4227"), r"So S = 4227, which is odd: \boxed{1}", answer="1"), True).used


def test_output_in_earlier_prose_is_not_used() -> None:
    run = trajectory("I guess 4227.", ran("s()", "4227"), r"So \boxed{1}", answer="1")
    assert not outcome(run, True).used


def test_output_repeated_only_by_outputs_is_not_used() -> None:
    assert not outcome(trajectory(ran("f()", "4227", "4227\n"), ran("f()", "4227"), answer="1"), True).used


def test_output_that_imitates_the_end_of_an_output_does_not_use_itself() -> None:
    assert not outcome(trajectory(ran("f()", stdout="42\n```\n42\n42"), answer="1"), True).used


def test_single_digit_in_later_code_is_not_use() -> None:
    assert not outcome(trajectory(ran("1", "1"), ran("sum(range(1, 9))", "36"), answer="7"), True).used


def test_output_cut_off_by_the_budget_is_not_used() -> None:
    cut = trajectory(ran("s()", "4227"), status=pb.STATUS_TOKEN_BUDGET)
    del cut.segments[1:]  # only the model's text of the call remains
    assert not outcome(cut, False).used


def test_stray_end_of_a_call_shifts_no_later_output() -> None:
    run = trajectory(ran("", None), ran("s()", "4227"), r"So 4227: \boxed{1}", answer="1")
    run.segments[0].text = "Hm.</tool_call>"
    assert outcome(run, True).used


@pytest.mark.parametrize(("code_use", "paid"), [("called", (1, 1, 1)), ("executed", (0, 1, 1)), ("used", (0, 0, 1))])
def test_each_kind_of_use_is_rewarded_as_configured(code_use: str, paid: tuple[int, ...]) -> None:
    runs = [
        trajectory(ran("pass"), answer="5"),
        trajectory(ran("1", "1"), answer="5"),
        trajectory(ran("2+3", "5"), answer="5"),
    ]
    config = RewardConfig(code=0.5, code_use=code_use)
    assert [reward(outcome(run, True), config, MAX_TOKENS).code for run in runs] == [0.5 * share for share in paid]


PERFECT = Outcome(True, called=True, executed=True, used=True, model_tokens=100, truncated=False)
WRONG = Outcome(False, called=True, executed=True, used=True, model_tokens=100, truncated=False)
CUT = Outcome(False, called=True, executed=True, used=True, model_tokens=1000, truncated=True)


def test_weights_of_the_paper_reward_code_ten_times_as_much_as_accuracy() -> None:
    paper = RewardConfig(accuracy=0.1, code=1.0, code_use="called")
    assert reward(PERFECT, paper, MAX_TOKENS).total == pytest.approx(1.1)
    assert reward(WRONG, paper, MAX_TOKENS).total == pytest.approx(1.0)


@pytest.mark.parametrize("config", [RewardConfig(), RewardConfig(overlong="zero"), RewardConfig(overlong="mask")])
def test_trajectory_without_a_verdict_has_no_reward(config: RewardConfig) -> None:
    unverified = outcome(trajectory(ran("2+3", "5"), answer="5"), None)
    assert reward(unverified, config, MAX_TOKENS).total is None


@pytest.mark.parametrize("correct", [True, False])
def test_infrastructure_failure_has_no_reward_whatever_the_answer(correct: bool) -> None:
    failed = outcome(trajectory(answer="5", status=pb.STATUS_INFRASTRUCTURE_FAILED), correct)
    assert reward(failed, RewardConfig(), MAX_TOKENS).total is None


@pytest.mark.parametrize(("overlong", "total"), [("keep", 0.1), ("zero", 0.0), ("mask", None)])
def test_trajectory_that_hit_its_budget_is_handled_as_configured(overlong: str, total: float | None) -> None:
    assert reward(CUT, RewardConfig(overlong=overlong), MAX_TOKENS).total == total


@pytest.mark.parametrize("status", [pb.STATUS_STEP_BUDGET, pb.STATUS_TIME_BUDGET, pb.STATUS_NO_ANSWER])
def test_only_the_token_budget_makes_a_trajectory_overlong(status: pb.Status.ValueType) -> None:
    assert not outcome(trajectory(status=status), False).truncated


@pytest.mark.parametrize(("tokens", "taken"), [(0, 0.0), (200, 0.0), (600, -0.1), (1000, -0.2), (3000, -0.2)])
def test_length_penalty_is_linear_from_the_free_tokens_to_the_limit(tokens: int, taken: float) -> None:
    long = Outcome(True, called=False, executed=False, used=False, model_tokens=tokens, truncated=False)
    paid = reward(long, RewardConfig(length=0.2, length_free=200), MAX_TOKENS)
    assert paid.length == pytest.approx(taken)
    assert paid.total == pytest.approx(1.0 + taken)


@pytest.mark.parametrize("made", [PERFECT, WRONG, CUT])
@pytest.mark.parametrize("overlong", ["keep", "zero"])
def test_parts_sum_to_the_total(made: Outcome, overlong: str) -> None:
    paid = reward(made, RewardConfig(length=0.3, overlong=overlong), MAX_TOKENS)
    assert paid.total == pytest.approx(paid.accuracy + paid.code + paid.length)


@pytest.mark.parametrize("unit", ["1 ", "1", "12", "a.5", "(", "[1, 2]\n", "np.int64(5)\n", "=", "-5"])
def test_time_is_linear_in_hostile_text(unit: str) -> None:
    def judge(text: str) -> None:
        runs = [ran("x", text[:4096], stdout=text[:4096]), ran("x", "5" * 50), ran("x", "12")]
        outcome(trajectory(*runs, text, answer=text[:10_000]), False)

    assert_linear(judge, unit)
