"""Images that the running snippet has drawn, in order, up to the limits of their number and size."""

from collections.abc import Callable
from typing import ClassVar

from deepmath.sandbox.png_image import MOST_FIGURE_BYTES, MOST_FIGURES


class RichOutputs:
    """State of the outputs: PNG files in `images`, and the number of those `dropped`.

    `finish` adds what the snippet has left open; `figure_manager.py` sets it where matplotlib is preloaded.
    """

    images: ClassVar[list[bytes]] = []
    dropped = 0
    finish: Callable[[], None] = staticmethod(lambda: None)

    @classmethod
    def reset(cls) -> None:
        """Prepare for the next snippet."""
        cls.images = []
        cls.dropped = 0

    @classmethod
    def add(cls, draw: Callable[[], bytes]) -> None:
        """Add the image that `draw` returns, or count it as dropped; the limit of their number is checked first."""
        image = draw() if len(cls.images) < MOST_FIGURES else b""
        if image and sum(map(len, cls.images)) + len(image) <= MOST_FIGURE_BYTES:
            cls.images.append(image)
        else:
            cls.dropped += 1

    @classmethod
    def to_fields(cls) -> dict[str, bytes | int]:
        """Return the fields of the result's frame."""
        fields: dict[str, bytes | int] = {f"figure{number}": image for number, image in enumerate(cls.images)}
        if cls.dropped:
            fields["dropped_figures"] = cls.dropped
        return fields
