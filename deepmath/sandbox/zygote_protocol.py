"""Start-up settings of a zygote, and the size of the messages on its socket."""

import json
from dataclasses import asdict, dataclass
from typing import Self

from deepmath.sandbox.allowed_modules import ALLOWED_MODULES
from deepmath.sandbox.preload_set import MATHS, PreloadSet

ZYGOTE_MODULE = "deepmath.sandbox.inside.zygote"
"""Run with `python -P -m`; never imported by a supervisor."""
MOST_MESSAGE_BYTES = 16 << 10


@dataclass(frozen=True, slots=True)
class ZygoteSettings:
    """Settings of all sandboxes of a zygote: preloaded modules, and modules that a snippet may import."""

    preload: PreloadSet = MATHS
    allowed_modules: tuple[str, ...] = ALLOWED_MODULES

    def to_argument(self) -> str:
        """Return the settings as one command-line argument."""
        return json.dumps(asdict(self))

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Return the settings in the argument that `to_argument` made."""
        fields = json.loads(argument)
        preload = fields["preload"] | {"modules": tuple(fields["preload"]["modules"])}
        return cls(PreloadSet(**preload), tuple(fields["allowed_modules"]))
