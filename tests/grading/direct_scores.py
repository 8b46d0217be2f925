"""Prints scores that reasoning-gym gives when it is called directly: a pickled list of (task, entry, answer, score).

A score is the name of the exception if the scorer raises one. Hostile answers are harmless to this process: what they
evaluate has no effect.
"""

import json
import os
import pickle
import random
from typing import Any

lines = os.fdopen(os.dup(1), "wb")
os.dup2(2, 1)

from reasoning_gym.factory import DATASETS, create_dataset  # noqa: E402

KNOWN_ANSWERS = ("possible_answer", "example_answer", "example_correct_answer", "solution")
HOSTILE = (
    *(
        "[",
        "{}",
        "None",
        "nan",
        "-1",
        "1e400",
        "9" * 5000,
        "[" * 300 + "]" * 300,
        "\x00",
        "\ud800",
        '{"a": NaN}',
        "1/0",
    ),
    *("x.__class__", "__import__('os').getcwd()", "[[1,2],[3]]", "import os", "1\n2\n3"),
)


def changed(answer: str, draw: random.Random) -> str:
    at = draw.randrange(len(answer))
    return draw.choice(
        [
            *(answer[:at] + answer[at + 1 :], answer[:at] + "7" + answer[at:], answer.swapcase(), answer[::-1]),
            *(answer.replace(" ", ""), answer + answer, f"The answer is {answer}", f'"{answer}"', f"{answer} "),
        ]
    )


def correct_answer(entry: dict[str, Any]) -> str:
    if entry["answer"]:
        return str(entry["answer"])
    found = next((entry["metadata"][name] for name in KNOWN_ANSWERS if name in entry["metadata"]), "unknown")
    return found if isinstance(found, str) else json.dumps(found)


def answers(entries: list[dict[str, Any]], number: int, draw: random.Random) -> list[str]:
    correct = correct_answer(entries[number])
    found = [correct, correct_answer(entries[1 - number]), *(changed(correct, draw) for _ in range(2))]
    if number == 0:
        found += draw.sample(HOSTILE, 3)
    return [answer for answer in found if answer.strip()]


def main() -> None:
    draw = random.Random(17)
    made = []
    for name in sorted(DATASETS.keys() - {"composite"}):
        task = create_dataset(name, seed=11, size=10)
        entries = [task[0], task[1]]
        for number, entry in enumerate(entries):
            pickled = pickle.dumps(entry)
            for answer in answers(entries, number, draw):
                try:
                    score: float | str = float(task.score_answer(answer, pickle.loads(pickled)))
                except Exception as error:
                    score = type(error).__name__
                made.append((name, pickled, answer, score))
    lines.write(pickle.dumps(made))
    lines.flush()


if __name__ == "__main__":
    main()
