"""Number of executors for a fleet of generators, and the cost of their failures, by simulation.

`python -m benchmarks.capacity` simulates agents: every generator runs a fixed number of trajectories, each of which
samples a segment, runs its snippet on the executor of its session, and continues. The processor times of sessions and
snippets are those in benchmarks/results/executor.json; the sampling rate of a generator is an assumption: replace it
with your own (`--step-ms`, `--step-ms-per-trajectory`). Executors and generators die at random: sessions are replayed
on another executor, and the trajectories of a generator start again.

A session takes a place of its executor, whose places are bounded by `--max-sessions` and by its memory. A full executor
refuses, and the client tries the next one; if all refuse, it waits.

Each scenario runs with the number of executors from the formula in docs/scaling.md, with that for the cores alone, with
half and with twice as many, and with sessions placed round-robin and by load. `--size` prints the numbers only. The
executors are those of deploy/k8s/base.
Results: benchmarks/results/capacity.json.
"""

import argparse
import json
import math
from collections.abc import Callable, Generator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import simpy

from deepmath.sandbox.isolation.memory_gauge import MemoryGauge
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget

RESULTS = Path(__file__).parent / "results"
SimulatedEvents = Generator[Any, Any, None]
BUSY = 0.6  # target utilization of the cores
PLACES_PER_TRAJECTORY = 1.25  # as in tests/deploy/test_scaling.py; an autoscaler's target occupancy is 1 / 1.25
SERVICE_BYTES = 256 << 20  # of an executor: supervisor, zygote and waiting sandboxes
_RETRY_S = 1.0  # of a client that every executor has refused
SHAPE = 1.0  # sigma of the log-normal lengths of segments and snippets: the mean is 1.65 times the median


@dataclass(frozen=True)
class Fleet:
    """Generators, executors and their load. Times are in seconds."""

    generators: int
    in_flight: int
    """Trajectories per generator."""
    executors: int
    cores: int
    """Cores per executor."""
    max_sessions: int
    """Sessions per executor at most."""
    idle_bytes: int
    """Memory per executor for sessions between snippets."""
    session_bytes: int
    """Memory of a session between snippets."""
    segment_tokens: float
    """Mean length of a segment."""
    snippets: float
    """Mean number per trajectory."""
    snippet_s: float
    """Mean processor time of a snippet."""
    open_s: float
    """Processor time to open a session."""
    step_s: float
    """Duration of an engine step with few trajectories."""
    step_s_each: float
    """Additional duration per trajectory."""
    executor_life_s: float = 3600.0
    executor_away_s: float = 10.0
    generator_life_s: float = 3600.0
    generator_away_s: float = 120.0
    placing: str = "turn"
    """Placement of sessions: `turn`, gRPC's round-robin, or `load`, the less loaded of two random executors."""

    def step(self, sampling: int) -> float:
        """Return the duration of an engine step with a batch of `sampling` trajectories."""
        return self.step_s + self.step_s_each * sampling

    @property
    def places(self) -> int:
        """Sessions that an executor can have."""
        return min(self.max_sessions, self.idle_bytes // self.session_bytes)

    @property
    def needed(self) -> int:
        """Number of executors by the formula in docs/scaling.md."""
        return max(self.needed_for.values())

    @property
    def needed_for(self) -> dict[str, int]:
        """Numbers of executors that have enough cores, session places and memory."""
        sessions = PLACES_PER_TRAJECTORY * self.generators * self.in_flight
        return {
            "cores": self._needed_for_cores,
            "sessions": math.ceil(sessions / self.max_sessions),
            "memory": math.ceil(sessions * self.session_bytes / self.idle_bytes),
        }

    @property
    def _needed_for_cores(self) -> int:
        segments_per_s = self.generators * self.in_flight / self.step(self.in_flight) / self.segment_tokens
        trajectories_per_s = segments_per_s / (self.snippets + 1)  # the last segment is the answer
        core_s = self.snippets * self.snippet_s + self.open_s
        return math.ceil(trajectories_per_s * core_s / (BUSY * self.cores))


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


def scenarios(options: argparse.Namespace) -> dict[str, Fleet]:
    """Return the scenarios: the same generators with light snippets, as measured, and with heavy ones."""
    measured = json.loads((RESULTS / "executor.json").read_text())["pod"]
    fleet = Fleet(
        generators=options.generators,
        in_flight=options.in_flight,
        executors=0,
        cores=options.cores,
        max_sessions=options.max_sessions,
        idle_bytes=_idle_bytes(options.memory_mib, options.cores),
        session_bytes=round(options.session_mib * (1 << 20)),
        segment_tokens=options.segment_tokens,
        snippets=options.snippets,
        snippet_s=measured["warm_solve_ms_p50"] / 1e3,
        open_s=measured["fresh_session_ms_p50"] / 1e3,
        step_s=options.step_ms / 1e3,
        step_s_each=options.step_ms_per_trajectory / 1e3,
    )
    return {"light: a sympy.solve": fleet, "heavy: a second of a core": replace(fleet, snippet_s=1.0)}


def _idle_bytes(memory_mib: int, cores: int) -> int:
    """Return the memory that an executor's service and running snippets leave, by the executor's own arithmetic."""
    gauge = MemoryGauge(memory_mib << 20)
    memory = MemoryBudget(gauge.limit_bytes * 9 // 10, gauge, cores)
    if (idle := memory.usable_bytes - memory.reserved_bytes - SERVICE_BYTES) <= 0:
        raise SystemExit(f"--memory-mib={memory_mib} leaves no memory for sessions; give an executor more")
    return idle


def main(options: argparse.Namespace) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, fleet in scenarios(options).items():
        print(name, fleet.needed_for, flush=True)
        if options.size:
            continue
        sizes: list[tuple[int, str]] = [(fleet.needed, placing) for placing in ("turn", "load")]
        if fleet.needed_for["cores"] < fleet.needed:
            sizes.append((fleet.needed_for["cores"], "turn"))
        sizes += [(max(1, fleet.needed // 2), "turn"), (2 * fleet.needed, "turn")]
        rows = []
        for executors, placing in sizes:
            sized = replace(fleet, executors=executors, placing=placing)
            rows.append(Simulation(sized, options.seed).run(options.warm_up, options.seconds))
            print(name, rows[-1], flush=True)
        figures[name] = {"needed": fleet.needed_for, "fleet": asdict(fleet), "runs": rows}
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    option: Callable[..., Any] = parser.add_argument
    option("--generators", type=int, default=32)
    option("--in-flight", type=int, default=256, help="trajectories per generator")
    option("--cores", type=int, default=2, help="cores per executor")
    option("--max-sessions", type=int, default=64, help="sessions per executor")
    option("--memory-mib", type=int, default=4096, help="memory per executor")
    option("--session-mib", type=float, default=8.0, help="memory of a session between snippets")
    option("--size", action="store_true", help="print the numbers of executors and exit")
    option("--segment-tokens", type=float, default=150.0, help="mean tokens per segment")
    option("--snippets", type=float, default=5.0, help="mean snippets per trajectory")
    option("--step-ms", type=float, default=12.0, help="duration of an engine step with few trajectories")
    option("--step-ms-per-trajectory", type=float, default=0.03, help="additional duration per trajectory")
    option("--warm-up", type=float, default=40.0, help="simulated seconds before the measurement")
    option("--seconds", type=float, default=180.0, help="simulated seconds of the measurement")
    option("--seed", type=int, default=0)
    if found := main(parser.parse_args()):
        (RESULTS / "capacity.json").write_text(json.dumps(found, indent=1) + "\n")
