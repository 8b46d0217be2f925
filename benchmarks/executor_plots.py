"""Cost of matplotlib when it is preloaded: `python -m benchmarks.executor_plots`. Ratios of PLOTS to MATHS.

Memory is what each sandbox is charged for, beyond the pages that it shares with its zygote.
"""

import asyncio
import json
import statistics
import time

from deepmath.sandbox import ALLOWED_MODULES, MATHS, PLOT_LIBRARIES, PLOTS, NativeBackend, PreloadSet, SandboxPool

ROUNDS = 3
SESSIONS = 20
DRAW = "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.title('two points')"


async def measure(preload: PreloadSet) -> dict[str, float]:
    """Return seconds to start, milliseconds of a fresh session, and MiB of a waiting sandbox."""
    backend = NativeBackend(preload=preload, allowed_modules=(*ALLOWED_MODULES, *PLOT_LIBRARIES))
    start = time.perf_counter()
    async with SandboxPool(backend, waiting=2) as pool:
        found = {"start_s": time.perf_counter() - start}
        times = []
        for _ in range(SESSIONS):
            start = time.perf_counter()
            sandbox = await backend.open()
            times.append(1e3 * (time.perf_counter() - start))
            found["inherited_mib"] = sandbox.inherited_bytes / 2**20
            found["held_mib"] = sandbox.held_bytes / 2**20
            sandbox.close()
        found["fresh_sandbox_ms_p50"] = statistics.median(times)
        if preload is PLOTS:
            drawn = [await pool.run(DRAW) for _ in range(5)]
            assert all(len(result.rich_outputs) == 1 for result in drawn)
            found["first_figure_ms"] = statistics.median(result.usage.wall_ms for result in drawn)
            found["first_figure_bytes"] = len(drawn[0].rich_outputs[0].data)
    return found


async def main() -> None:
    """Measure both sets in turn and print the medians, and the ratios."""
    rounds = [(await measure(MATHS), await measure(PLOTS)) for _ in range(ROUNDS)]
    maths, plots = (
        {name: statistics.median(found[at][name] for found in rounds) for name in rounds[0][at]} for at in (0, 1)
    )
    ratios = {name: round(plots[name] / value, 2) for name, value in maths.items() if value}
    print(json.dumps({"maths": maths, "plots": plots, "ratio": ratios}, indent=2))


if __name__ == "__main__":
    asyncio.run(main())
