"""What came of one question."""

from dataclasses import dataclass, field

from deepmath.cli.question_file import Question
from deepmath.executor.v1 import executor_pb2
from deepmath.generator.v1 import generator_pb2 as pb


@dataclass
class SolveResult:
    """What came of one question."""

    question: Question
    trajectories: list[pb.Trajectory] = field(default_factory=list)
    vote: pb.Vote | None = None
    error: str = ""

    @property
    def answer(self) -> str:
        """The answer of the majority; empty where there is none."""
        return self.vote.answer if self.vote else ""

    @property
    def failed(self) -> bool:
        """Whether something of ours, or of the input, kept the question from being solved."""
        return bool(self.error) or any(t.status == pb.STATUS_INFRASTRUCTURE_FAILED for t in self.trajectories)


def as_object(solved: SolveResult) -> dict[str, object]:
    """Return what came of a question as `--json` prints it."""
    known = {"id": solved.question.id} if solved.question.id else {}
    failure = {"error": solved.error} if solved.error else {}
    return {
        **known,
        "question": solved.question.text,
        "answer": solved.answer,
        "votes": [{"answer": c.answer, "votes": c.votes} for c in (solved.vote.counts if solved.vote else [])],
        "trajectories": [
            {
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
            for trajectory in solved.trajectories
        ],
        **failure,
    }
