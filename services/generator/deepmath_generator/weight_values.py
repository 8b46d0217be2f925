"""Values of the weights in safetensors files: floating-point numbers, all finite.

One weight that is not makes every log-probability NaN, and the engine then samples one token forever.
"""

import os
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import safe_open

from deepmath.errors import InvalidRequest

_DATA_TYPES = ("F64", "F32", "F16", "BF16")
_HEADER_BYTES = 16 << 20  # 70 000 tensors; the parser's own limit of 100 MB costs seconds and a gigabyte
_CHUNK = 1 << 24  # weights checked at a time


def check_header(path: Path) -> None:
    """Check the length of a safetensors file's header, which states it in the first 8 bytes, before it is parsed.

    Raises:
        InvalidRequest: It is longer than that of any real model.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(_HEADER_BYTES, os.fstat(file.fileno()).st_size):
            raise InvalidRequest(f"{path.name} is not a complete safetensors file: its header has {length} bytes")


def check_values(files: Iterable[Path]) -> None:
    """Check that all weights in complete safetensors files are finite floating-point numbers.

    Raises:
        InvalidRequest: A tensor has a weight that is not; the message names it.
    """
    for path in files:
        with safe_open(path, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - not a dict
                if (kind := tensors.get_slice(name).get_dtype()) not in _DATA_TYPES:
                    raise InvalidRequest(
                        f"{name} in {path.name} is of type {kind}; use one of {', '.join(_DATA_TYPES)}"
                    )
                if not all(torch.isfinite(part).all() for part in tensors.get_tensor(name).flatten().split(_CHUNK)):
                    raise InvalidRequest(f"{name} in {path.name} has NaN or infinite weights; the training diverged")
