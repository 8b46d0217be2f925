"""Simulation of a fleet of generators and executors, which die at random.

Every generator runs a fixed number of trajectories, each of which samples a segment, runs its snippet on the executor
of its session, and continues. The sessions of a dead executor are replayed on another one, and the trajectories of a
dead generator start again.

A session takes a place of its executor, whose places are bounded by `--max-sessions` and by its memory. A full executor
refuses, and the client tries the next one; if all refuse, it waits.
"""

import math
from collections.abc import Generator
from random import Random
from typing import Any

import simpy

from benchmarks.fleet_size import Fleet

SimulatedEvents = Generator[Any, Any, Any]
SHAPE = 1.0  # sigma of the log-normal lengths of segments and snippets: the mean is 1.65 times the median
_RETRY_S = 1.0  # of a client that every executor has refused


class Executor:
    """Cores with one queue. When it dies, its running and queued snippets are interrupted."""

    def __init__(self, env: simpy.Environment, cores: int) -> None:
        self.cores = simpy.Resource(env, cores)
        self.alive = True
        self.sessions = 0
        self.visitors: set[simpy.Process] = set()

    @property
    def load(self) -> int:
        return self.cores.count + len(self.cores.queue)


class Simulation:
    """A running fleet."""

    def __init__(self, fleet: Fleet, seed: int) -> None:
        self.fleet, self.random = fleet, Random(seed)
        self.env = simpy.Environment()
        self.executors = [Executor(self.env, fleet.cores) for _ in range(fleet.executors)]
        self.sampling = [0] * fleet.generators
        self.turn = 0
        self.reset_counts()

    def reset_counts(self) -> None:
        """Set all counts to zero."""
        self.tokens = self.work_s = self.waited_s = self.sampled_s = 0.0
        self.queued: list[float] = []
        self.finished = self.replays = self.restarted = self.executors_lost = self.generators_lost = 0
        self.sought = self.refused = 0

    def run(self, warm_up_s: float, seconds: float) -> dict[str, Any]:
        """Return the counts of `seconds` after the warm-up."""
        fleet = self.fleet
        for number in range(fleet.generators):
            trajectories = [self.env.process(self.trajectory(number)) for _ in range(fleet.in_flight)]
            self.env.process(self.generator_dies(trajectories))
        for place in range(fleet.executors):
            self.env.process(self.executor_dies(place))
        self.env.run(until=warm_up_s)
        self.reset_counts()
        self.env.run(until=warm_up_s + seconds)
        full = fleet.generators * fleet.in_flight / fleet.step(fleet.in_flight)
        queued = sorted(self.queued)
        return {
            "executors": fleet.executors,
            "placing": fleet.placing,
            "tokens_vs_no_tools": round(self.tokens / seconds / full, 3),
            "tools_share_of_time": round(self.waited_s / (self.waited_s + self.sampled_s), 4),
            "cores_busy": round(self.work_s / seconds / (fleet.executors * fleet.cores), 3),
            "snippets_per_s": round(len(queued) / seconds, 1),
            "queue_ms_p50": round(1e3 * queued[len(queued) // 2], 2),
            "queue_ms_p99": round(1e3 * queued[len(queued) * 99 // 100], 1),
            "refused_by_all": round(self.refused / max(self.sought, 1), 4),
            "trajectories": self.finished,
            "executors_lost": self.executors_lost,
            "sessions_replayed": self.replays,
            "generators_lost": self.generators_lost,
            "trajectories_begun_again": self.restarted,
        }

    def drawn(self, mean: float) -> float:
        return self.random.lognormvariate(math.log(mean) - SHAPE**2 / 2, SHAPE)

    def place(self) -> Executor | None:
        """Return an executor with a free place for a new session; None if all refuse."""
        for attempt in range(len(self.executors)):
            if self.fleet.placing == "turn" or attempt:
                self.turn += 1
                chosen = self.executors[self.turn % len(self.executors)]
            else:
                chosen = min(self.random.choices(self.executors, k=2), key=lambda drawn: (not drawn.alive, drawn.load))
            if chosen.alive and chosen.sessions < self.fleet.places:
                return chosen
        return None

    def open_session(self) -> SimulatedEvents:
        """Wait for a place, and return its executor."""
        self.sought += 1
        executor = self.place()
        self.refused += executor is None
        while executor is None:
            yield self.env.timeout(_RETRY_S * self.random.uniform(0.5, 1.5))
            executor = self.place()
        executor.sessions += 1
        return executor

    def trajectory(self, generator: int) -> SimulatedEvents:
        """Run the trajectories of one slot of a generator, one after another."""
        env, fleet = self.env, self.fleet
        yield env.timeout(self.random.random() * fleet.segment_tokens * fleet.step(fleet.in_flight))
        while True:
            executor: Executor | None = None
            history = 0.0
            snippets = 1 + int(self.random.expovariate(1 / (fleet.snippets - 0.5)))
            try:
                for _ in range(snippets):
                    yield from self.sample(generator)
                    began = env.now
                    code = self.drawn(fleet.snippet_s)
                    while True:
                        work = code
                        if executor is None or not executor.alive:
                            self.replays += executor is not None
                            executor = yield from self.open_session()
                            work += fleet.open_s + history
                        try:
                            yield from self.visit(executor, work)
                            break
                        except simpy.Interrupt as interrupt:
                            if interrupt.cause is not executor:  # the generator has died
                                raise
                    history += code
                    self.waited_s += env.now - began
                yield from self.sample(generator)  # the answer
                self.finished += 1
            except simpy.Interrupt:
                self.restarted += 1
                yield env.timeout(fleet.generator_away_s)
            finally:
                if executor is not None:
                    executor.sessions -= 1

    def sample(self, generator: int) -> SimulatedEvents:
        tokens = self.drawn(self.fleet.segment_tokens)
        self.sampling[generator] += 1
        seconds = tokens * self.fleet.step(self.sampling[generator])  # with the current batch, for the whole segment
        try:
            yield self.env.timeout(seconds)
            self.tokens += tokens
            self.sampled_s += seconds
        finally:
            self.sampling[generator] -= 1

    def visit(self, executor: Executor, work_s: float) -> SimulatedEvents:
        assert self.env.active_process
        queued, visitor = self.env.now, self.env.active_process
        executor.visitors.add(visitor)
        try:
            with executor.cores.request() as core:
                yield core
                self.queued.append(self.env.now - queued)
                yield self.env.timeout(work_s)
                self.work_s += work_s
        finally:
            executor.visitors.discard(visitor)

    def executor_dies(self, place: int) -> SimulatedEvents:
        while True:
            yield self.env.timeout(self.random.expovariate(1 / self.fleet.executor_life_s))
            executor = self.executors[place]
            executor.alive = False
            self.executors_lost += 1
            for visitor in list(executor.visitors):
                visitor.interrupt(executor)
            yield self.env.timeout(self.fleet.executor_away_s)
            self.executors[place] = Executor(self.env, self.fleet.cores)  # without sessions

    def generator_dies(self, trajectories: list[simpy.Process]) -> SimulatedEvents:
        while True:
            yield self.env.timeout(self.random.expovariate(1 / self.fleet.generator_life_s))
            self.generators_lost += 1
            for trajectory in trajectories:
                trajectory.interrupt("generator")
            yield self.env.timeout(self.fleet.generator_away_s)
