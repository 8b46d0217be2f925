"""matplotlib in a sandbox: a figure that is shown, or open at the end of a snippet, becomes a PNG image and is closed.

`show` of the manager takes the place of a window, as in Jupyter's inline backend (the package matplotlib-inline). It
belongs to the backend Agg, so that `matplotlib.use("Agg")` in a snippet changes nothing.
"""

import io
import math

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.backend_bases import FigureManagerBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from deepmath.sandbox.inside.rich_outputs import RichOutputs
from deepmath.sandbox.png_image import MOST_PIXELS, is_png


class SnippetFigureManager(FigureManagerBase):
    """Shows a figure by adding it to the outputs of the snippet."""

    def show(self) -> None:
        """Render the figure and close it."""
        _add(self.canvas.figure)


def install() -> None:
    """Make this the way to show figures, and draw one, which loads what is imported late.

    It has no text: an open font would keep a file descriptor that a sandbox closes.
    """
    mpl.use("agg")
    FigureCanvasAgg.manager_class = SnippetFigureManager
    RichOutputs.finish = staticmethod(_add_open_figures)
    figure, axes = plt.subplots()
    axes.plot([0, 1])
    axes.set_axis_off()
    _add(figure)
    RichOutputs.reset()


def _add_open_figures() -> None:
    """Render and close every open figure, and then raise the first exception that one of them raised."""
    errors = []
    for number in plt.get_fignums():
        try:
            _add(plt.figure(number))
        except Exception as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _add(figure: Figure) -> None:
    try:
        RichOutputs.add(lambda: _to_png(figure))
    finally:
        plt.close(figure)


def _to_png(figure: Figure) -> bytes:
    """Return `figure` as a PNG file, at a lower resolution if it would have over MOST_PIXELS.

    Raises:
        ValueError: Its image exceeds the limits.
    """
    width, height = figure.get_size_inches()
    resolution = min(figure.dpi, math.sqrt(MOST_PIXELS / (width * height or 1)))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=resolution)
    if not is_png(image := file.getvalue()):
        raise ValueError(f"the figure has no PNG image of at most {MOST_PIXELS} pixels")
    return image
