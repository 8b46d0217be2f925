"""The process that generates reasoning-gym's problems: `python -m deepmath.data.reasoning_gym.gym_generator`.

Theory of operation. The library is imported here and in the sandboxes of its scorers, and nowhere else. In a process of
its own, hashes have a fixed seed, since some generators iterate over sets; global generators of random numbers are
seeded; output that the library prints goes to stderr; and options that ask for too much time or memory end this process
and not a service. The request is one JSON object on stdin. Problems are JSON lines on stdout, or one line with `error`.

An instance belongs to one split, by the digest of its question: train and test share none, whatever their seeds.
"""

import base64
import difflib
import hashlib
import json
import os
import pickle
import random
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, TextIO

MOST_SECONDS = 30
"""Wall-clock time for one problem, and for making a generator."""
_MOST_MEMORY = 8 << 30  # bytes of address space, which libraries reserve generously
_TEST_SHARE = 5  # one in this many instances is a test instance, as of the synthetic problems
_CHUNK = 100  # instances of one seed; some tasks vary over the indices of a data set
_MOST_REPEATS = 300  # draws without a new problem, after which a task counts as exhausted
_EXAMPLES = ("possible_answer", "example_answer", "example_correct_answer")
_MOST_QUESTION_CHARACTERS = 100_000


class Refused(Exception):
    """A task, option or split that the library does not have."""


def main() -> None:
    """Answer the request on stdin."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    lines = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    try:
        for line in problems(request["parts"], request["split"], request["seed"], request["count"]):
            _write(lines, line)
    except Refused as refusal:
        _write(lines, {"error": str(refusal)})


def problems(parts: list[tuple[str, str, float]], split: str, seed: int, count: int) -> Iterator[dict[str, str]]:
    """Yield at most `count` different problems of a mix. A smaller count gives a prefix of a larger one.

    Each part is a task, its options as JSON, and its weight. A task that has no further question is left out.
    """
    streams = [_stream(name, json.loads(options), split, seed) for name, options, _ in parts]
    weights = [weight for *_, weight in parts]
    chooser = random.Random(f"mix:{split}:{seed}")
    drawn: set[bytes] = set()
    while count and streams:
        (at,) = chooser.choices(range(len(streams)), weights)
        found = next(streams[at], None)
        if found is None:
            del streams[at], weights[at]
        elif (digest := _digest(found["question"])) not in drawn:
            drawn.add(digest)
            count -= 1
            yield found


def _stream(name: str, options: dict[str, Any], split: str, seed: int) -> Iterator[dict[str, str]]:
    make = _maker(name, options)
    first_seed = int.from_bytes(hashlib.sha256(f"{split}:{seed}:{name}".encode()).digest()[:4], "big") >> 2
    drawn: set[bytes] = set()
    repeats = 0
    for start in range(0, 1 << 30, _CHUNK):
        dataset = make(first_seed + start)
        for index in random.Random(f"{first_seed}:{start}").sample(range(_CHUNK), _CHUNK):
            entry = _entry(dataset, name, index, first_seed + start)
            question = str(entry["question"])
            digest = _digest(question)
            if digest in drawn or (digest[0] % _TEST_SHARE == 0) != (split == "test"):
                repeats += 1
                if repeats == _MOST_REPEATS:
                    return
                continue
            repeats = 0
            drawn.add(digest)
            pickled = base64.b85encode(pickle.dumps(entry)).decode()
            yield {
                "question": question,
                "answer": _answer(entry),
                "entry": pickled,
                "name": name,
                "options": _text(options),
            }


def _answer(entry: dict[str, Any]) -> str:
    """Return one correct answer; empty if the entry has none. Puzzles with many have one in their metadata, or none."""
    if entry["answer"] is not None:
        return str(entry["answer"])
    metadata = entry.get("metadata", {})
    found = next((metadata[name] for name in _EXAMPLES if metadata.get(name)), "")
    return found if isinstance(found, str) else json.dumps(found)


def _entry(dataset: Any, name: str, index: int, seed: int) -> dict[str, Any]:
    random.seed(f"{name}:{seed}:{index}")
    entry: dict[str, Any] = _within(name, lambda: dataset[index])
    if len(str(entry["question"])) > _MOST_QUESTION_CHARACTERS:
        raise Refused(
            f"a question of {name} is longer than {_MOST_QUESTION_CHARACTERS} characters; choose other options"
        )
    return entry


def _maker(name: str, options: dict[str, Any]) -> Callable[[int], Any]:
    """Return a function from a seed to the task's generator."""
    from reasoning_gym.factory import DATASETS

    tasks = DATASETS.keys() - {"composite"}
    if name not in tasks:
        raise Refused(f"reasoning-gym has no task {name}{_hint(name, tasks)}")
    dataset_class, config_class = DATASETS[name]
    known = {field.name for field in fields(config_class)} - {"seed", "size"}
    for option in options:
        if option not in known:
            raise Refused(f"{name} has no option {option}{_hint(option, known)}")

    def make(seed: int) -> Any:
        return _within(name, lambda: dataset_class(config_class(seed=seed, size=_CHUNK, **options)))

    return make


def _within(name: str, work: Callable[[], Any]) -> Any:
    """Return what `work` does. If it takes too long the alarm ends this process, whatever it is doing."""
    signal.alarm(MOST_SECONDS)
    try:
        return work()
    except Exception as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise Refused(f"{name} rejects its options: {reason}") from None
    finally:
        signal.alarm(0)


def _hint(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f"; did you mean {' or '.join(near)}?" if near else f"; choose one of {', '.join(sorted(known))}"


def _digest(question: str) -> bytes:
    return hashlib.sha256(" ".join(question.casefold().split()).encode(errors="replace")).digest()


def _text(options: dict[str, Any]) -> str:
    return json.dumps(options, sort_keys=True)


def _write(lines: TextIO, line: dict[str, str]) -> None:
    lines.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
