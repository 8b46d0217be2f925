"""Result of one question: its trajectories and the majority vote."""

from dataclasses import dataclass, field

from deepmath.cli.question_file import Question
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2 as pb
from deepmath.grading.verdict import Verdict


@dataclass
class SolveResult:
    """Trajectories, vote and error of one question."""

    question: Question
    trajectories: list[pb.Trajectory] = field(default_factory=list)
    vote: pb.Vote | None = None
    verdict: Verdict | None = None
    """On the majority answer; None if it is not graded."""
    error: str = ""

    @property
    def answer(self) -> str:
        """The majority answer; empty if there is none."""
        return self.vote.answer if self.vote else ""

    @property
    def correct(self) -> bool | None:
        """Whether the majority answer equals the question's; None if it is unknown."""
        return None if self.verdict is None else self.verdict.correct

    @property
    def failed(self) -> bool:
        """Whether invalid input or an infrastructure failure prevented a solution."""
        return bool(self.error) or any(t.status == pb.STATUS_INFRASTRUCTURE_FAILED for t in self.trajectories)

    @property
    def snippets(self) -> int:
        """Number of snippets over all trajectories."""
        return sum(len(t.snippets) for t in self.trajectories)

    @property
    def tokens(self) -> int:
        """Number of model and tool tokens over all trajectories."""
        return sum(t.model_tokens + t.tool_tokens for t in self.trajectories)

    def add(self, event: pb.SolveResponse) -> None:
        """Keep a trajectory or the vote; ignore other events."""
        match event.WhichOneof("event"):
            case "trajectory":
                self.trajectories.append(event.trajectory)
            case "vote":
                self.vote = event.vote

    def to_dict(self) -> dict[str, object]:
        """Return the object that `--json` prints."""
        return {
            **({"id": self.question.id} if self.question.id else {}),
            "question": self.question.text,
            "answer": self.answer,
            "votes": [{"answer": c.answer, "votes": c.votes} for c in (self.vote.counts if self.vote else [])],
            "trajectories": [_trajectory_dict(trajectory) for trajectory in self.trajectories],
            **({"exact_votes_only": True} if self.vote and self.vote.exact_only else {}),
            **_verdict_dict(self.verdict),
            **({"error": self.error} if self.error else {}),
        }


def _verdict_dict(verdict: Verdict | None) -> dict[str, object]:
    return {} if verdict is None else {"verdict": verdict.correct, "reason": verdict.reason.value}


def _trajectory_dict(trajectory: pb.Trajectory) -> dict[str, object]:
    return {
        "answer": trajectory.answer,
        "status": pb.Status.Name(trajectory.status).removeprefix("STATUS_"),
        "text": trajectory.text,
        "snippets": [
            {
                "code": snippet.code,
                "outcome": executor_pb2.Outcome.Name(snippet.result.outcome).removeprefix("OUTCOME_"),
                "stdout": snippet.result.stdout,
                "value": snippet.result.value if snippet.result.HasField("value") else None,
            }
            for snippet in trajectory.snippets
        ],
        "model_tokens": trajectory.model_tokens,
        "tool_tokens": trajectory.tool_tokens,
        "seconds": round(trajectory.seconds, 3),
        "notes": list(trajectory.notes),
    }
