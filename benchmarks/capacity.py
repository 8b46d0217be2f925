"""Number of executors for a fleet of generators, and the cost of their failures, by simulation.

`python -m benchmarks.capacity --size` prints the executors that have enough cores, session places and memory, by the
formula in docs/scaling.md. Without `--size`, each scenario is simulated (`fleet_simulation`) with the number from the
formula, with that for the cores alone, with half and with twice as many, and with sessions placed round-robin and by
load; this needs simpy, which `make bench` installs.

The processor times of sessions and snippets are those in benchmarks/results/executor.json; the sampling rate of a
generator is an assumption: replace it with your own (`--step-ms`, `--step-ms-per-trajectory`). The executors are those
of deploy/k8s/base. Results: benchmarks/results/capacity.json.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.fleet_size import Fleet
from deepmath.sandbox.isolation.memory_gauge import MemoryGauge
from deepmath.sandbox.supervisor.memory_budget import MemoryBudget

RESULTS = Path(__file__).parent / "results"
SERVICE_BYTES = 256 << 20  # of an executor: supervisor, zygote and waiting sandboxes


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


def simulate(fleet: Fleet, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the counts with each number of executors."""
    from benchmarks.fleet_simulation import Simulation  # needs simpy

    sizes: list[tuple[int, str]] = [(fleet.needed, placing) for placing in ("turn", "load")]
    if fleet.needed_for["cores"] < fleet.needed:
        sizes.append((fleet.needed_for["cores"], "turn"))
    sizes += [(max(1, fleet.needed // 2), "turn"), (2 * fleet.needed, "turn")]
    rows = []
    for executors, placing in sizes:
        sized = replace(fleet, executors=executors, placing=placing)
        rows.append(Simulation(sized, options.seed).run(options.warm_up, options.seconds))
        print(rows[-1], flush=True)
    return rows


def main(options: argparse.Namespace) -> dict[str, Any]:
    """Print the numbers of executors; return the figures of the simulation."""
    figures: dict[str, Any] = {}
    for name, fleet in scenarios(options).items():
        print(name, fleet.needed_for, flush=True)
        if not options.size:
            figures[name] = {"needed": fleet.needed_for, "fleet": asdict(fleet), "runs": simulate(fleet, options)}
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
