"""Figures of snippets: PNG images of what they draw with matplotlib, within limits that hold whatever they do."""

import inspect
from collections.abc import AsyncIterator

import pytest
from support.executor_process import GRACE_MS, Executor, running
from support.png_files import chunk, png

from deepmath.executor.v1 import executor_pb2 as pb
from deepmath.sandbox.png_image import MOST_FIGURE_BYTES, MOST_FIGURES, MOST_PIXELS, is_png

PYPLOT = "import matplotlib.pyplot as plt\n"
# Snippets by the number of their figures.
DRAWN = {
    "open_at_the_end": (PYPLOT + "plt.plot([1, 2])\nplt.title(r'$\\frac{1}{2}$')", 1),
    "shown_in_the_middle": (PYPLOT + "plt.plot([1])\nplt.show()\nassert not plt.get_fignums()\nplt.plot([2])", 2),
    "manager_shows_one": (PYPLOT + "fig, ax = plt.subplots()\nplt.figure()\nfig.show()\nplt.close('all')", 1),
    "backend_agg": (
        "import matplotlib\nmatplotlib.use('Agg')\n" + PYPLOT + "plt.plot([1])\nplt.show()\nplt.close()",
        1,
    ),
    "before_an_exception": (PYPLOT + "plt.plot([1])\n1 / 0", 1),
    "before_an_exit": (PYPLOT + "plt.plot([1])\nraise SystemExit", 1),
    "of_sympy": ("from sympy import *\nplot(Symbol('x') ** 2)", 1),
    "three_dimensions": (PYPLOT + "plt.figure().add_subplot(projection='3d').plot([1], [2], [3])", 1),
    "closed": (PYPLOT + "plt.plot([1])\nplt.close()", 0),
    "into_memory": (PYPLOT + "import io\nplt.plot([1])\nplt.savefig(io.BytesIO())\nplt.close()", 0),
    "none": ("print(1)", 0),
}
# Snippets whose figures have no honest size; all but the last are drawn at a lower resolution.
HUGE = {
    "inches": PYPLOT + "plt.figure(figsize=(100_000, 100_000))",
    "resolution": PYPLOT + "plt.figure(dpi=1e9)",
    "settings": PYPLOT + "plt.rcParams.update({'figure.dpi': 1e7, 'savefig.dpi': 1e7})\nplt.plot([1])",
    "line": PYPLOT + "plt.figure(figsize=(1e7, 1e-3))",
}
OUTPUTS = """
import random
outputs = random._os.sys.modules["deepmath.sandbox.inside.rich_outputs"].RichOutputs
"""
MAKE_PNG = "import zlib\n" + inspect.getsource(chunk) + inspect.getsource(png)
FORGERY = f"""
import random
{MAKE_PNG}
frames = random._os.sys.modules["deepmath.sandbox.frames"]
frame = frames.encode({{"sequence": 1, "outcome": "OK", **FIELDS}})
while frame:
    frame = frame[random._os.write(3, frame):]
while True: pass
"""
# tests/sandbox/test_png_image.py has more files that are no image.
FORGED = {
    "html": "{'figure0': '<script>alert(1)</script>'}",
    "compressed_text": "{'figure0': png(more=chunk(b'zTXt', zlib.compress(bytes(1 << 20))))}",
    "too_large": f"{{'figure0': png(more=chunk(b'tEXt', bytes({MOST_FIGURE_BYTES})))}}",
    "too_large_together": (
        f"{{f'figure{{at}}': png(more=chunk(b'tEXt', bytes({MOST_FIGURE_BYTES >> 2}))) for at in range(4)}}"
    ),
    "second_is_none": "{'figure0': png(), 'figure7': ''}",
    "negative_count": "{'dropped_figures': -1}",
}


@pytest.fixture(scope="module")
async def executor(tmp_path_factory) -> AsyncIterator[Executor]:
    """An executor with matplotlib: level `full` where the kernel allows it."""
    options = ["--waiting-sandboxes=2", f"--grace-ms={GRACE_MS}"]
    async with running(tmp_path_factory.mktemp("plots"), *options, preload="plots") as executor:
        yield executor


def sizes(result: pb.SnippetResult) -> list[tuple[int, int]]:
    """Return width and height of the figures in pixels, and check what holds for every result."""
    assert all(output.mime_type == "image/png" and is_png(output.data) for output in result.rich_outputs)
    assert sum(len(output.data) for output in result.rich_outputs) <= MOST_FIGURE_BYTES
    return [
        (int.from_bytes(output.data[16:20], "big"), int.from_bytes(output.data[20:24], "big"))
        for output in result.rich_outputs
    ]


async def test_figures_are_returned_and_closed(executor):
    async with executor.session() as session:
        for name, (code, count) in DRAWN.items():
            result = await session.run(code)
            assert (name, sizes(result)) == (name, [(640, 480)] * count), result
            assert result.stderr == "", name
            assert not result.state_lost, name
            assert (await session.run(PYPLOT + "plt.get_fignums()")).value == "[]", name


async def test_text_is_drawn_by_the_fonts_of_the_package(executor):
    drawn, blank = [
        (await executor.execute(PYPLOT + f"plt.figtext(0.1, 0.5, {text!r}, size=40)")).rich_outputs[0].data
        for text in ("π² ∑ $\\sqrt{x}$", "")
    ]
    assert len(drawn) > 2 * len(blank)


async def test_too_many_figures_are_counted_and_not_drawn(executor):
    result = await executor.execute(PYPLOT + f"for _ in range({MOST_FIGURES} + 3): plt.figure(figsize=(1, 1))")
    assert (len(sizes(result)), result.dropped_rich_outputs) == (MOST_FIGURES, 3)


async def test_too_large_figures_are_counted(executor):
    noise = PYPLOT + "import numpy\nfor _ in range(3):\n    plt.figure(figsize=(5, 5))\n"
    noise += "    plt.figimage(numpy.random.random((500, 500, 3)))"
    result = await executor.execute(noise)
    assert (len(sizes(result)), result.dropped_rich_outputs) == (1, 2)


async def test_huge_figures_are_drawn_at_a_lower_resolution(executor):
    async with executor.session() as session:
        for name, code in HUGE.items():
            result = await session.run(code, memory_bytes=256 << 20)
            assert not result.state_lost, name
            if name == "line":
                assert (result.outcome, result.exception.type, sizes(result)) == (
                    pb.OUTCOME_EXCEPTION,
                    "ValueError",
                    [],
                )
            else:
                ((width, height),) = sizes(result)
                assert MOST_PIXELS // 2 < width * height <= MOST_PIXELS, name


async def test_figure_that_cannot_be_drawn_is_the_exception_of_the_snippet(executor):
    broken = {
        "markup": (PYPLOT + "plt.title(r'$\\nonsense{$')\nplt.figure()", "ValueError"),
        "patched": (
            PYPLOT + "plt.Figure.savefig = lambda self, file, **_: file.write(b'<svg>')\nplt.plot([1])",
            "ValueError",
        ),
        "artist": (PYPLOT + "plt.Figure.draw = lambda *_: 1 / 0\nplt.plot([1])", "ZeroDivisionError"),
    }
    for name, (code, error) in broken.items():
        async with executor.session() as session:
            result = await session.run(code)
            assert (name, result.outcome, result.exception.type) == (name, pb.OUTCOME_EXCEPTION, error)
            assert sizes(result) == [(640, 480)] * (name == "markup")
            assert (await session.run(PYPLOT + "plt.get_fignums()")).value == "[]"


async def test_drawing_is_within_the_time_limit(executor):
    loop = PYPLOT + "def draw(*_):\n    while True: pass\nplt.Figure.draw = draw\nplt.plot([1])"
    result = await executor.execute(loop, wall_ms=500)
    assert (result.outcome, result.exception.type) == (pb.OUTCOME_WALL_TIMEOUT, "TimeoutError")
    assert not sizes(result)


async def test_tampered_outputs_end_the_sandbox_or_are_cut(executor):
    for code in ("outputs.images.append(b'no image')", "outputs.images[:] = [png()] * 200"):
        result = await executor.execute(OUTPUTS + MAKE_PNG + code)
        assert (result.outcome, result.state_lost, sizes(result)) == (pb.OUTCOME_CRASHED, True, []), code
    kept = await executor.execute(OUTPUTS + MAKE_PNG + "outputs.images.append(png())\noutputs.dropped = 10 ** 15")
    assert (sizes(kept), kept.dropped_rich_outputs) == ([(1, 1)], 2**31 - 1)


async def test_forged_frame_with_a_bad_figure_crashes_its_sender(executor):
    for name, fields in FORGED.items():
        result = await executor.execute(FORGERY.replace("FIELDS", fields))
        assert (name, result.outcome, sizes(result)) == (name, pb.OUTCOME_CRASHED, [])
    honest = await executor.execute(FORGERY.replace("FIELDS", "{'figure0': png(), 'figure7': png()}"))
    assert sizes(honest) == [(1, 1)] * 2


async def test_lockdown_is_the_same_with_matplotlib(executor):
    probe = """
import random
os = random._os
def is_open(descriptor):
    try: return bool(os.fstat(descriptor))
    except OSError: return False
[at for at in range(64) if is_open(at)], len(os.sys._current_frames()), [name for name in os.environ if "M" in name]
"""
    found = (await executor.execute(probe)).value
    assert found.startswith("([0, 1, 2, 3], 1, [")
    assert "MPL" not in found
    assert "MATPLOTLIB" not in found
    for file in ("figure.png", "/tmp/figure.png"):
        result = await executor.execute(f"{PYPLOT}plt.plot([1])\nplt.savefig({file!r})")
        assert (result.exception.type, sizes(result)) == ("PermissionError", [(640, 480)])
    assert (await executor.execute("import os")).outcome == pb.OUTCOME_POLICY_VIOLATION


async def test_repeated_snippet_returns_its_figures_again(executor):
    async with executor.session() as session:
        first = await session.run(PYPLOT + "plt.plot([1])")
        await session.send("", 1)
        assert (await session.read()).result == first


async def test_module_is_refused_where_it_is_not_preloaded(tmp_path):
    async with running(tmp_path, "--waiting-sandboxes=1") as executor:
        result = await executor.execute("import matplotlib.pyplot")
        assert result.outcome == pb.OUTCOME_POLICY_VIOLATION
        assert "module 'matplotlib' may not be imported here: there is no display" in result.exception.message
        forged = await executor.execute(FORGERY.replace("FIELDS", "{'figure0': png()}"))
        assert len(forged.rich_outputs) == 0
