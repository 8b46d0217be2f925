"""The kernelspec, a folder by which Jupyter finds and starts the kernel."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from jupyter_client.kernelspec import KernelSpecManager

from deepmath.errors import InvalidRequest

KERNEL_NAME, DISPLAY_NAME = "deepmath", "Python (DeepMath sandbox)"


def install_kernel_spec(
    options: Sequence[str],
    *,
    name: str = KERNEL_NAME,
    display_name: str = DISPLAY_NAME,
    user: bool = False,
    prefix: Path | None = None,
) -> Path:
    """Install a kernelspec that starts the kernel of this Python with `options`, and return its folder.

    It is installed for the current user, or in the environment at `prefix`, by default this Python's. An existing one
    of that name is replaced.

    Raises:
        InvalidRequest: `name` is not valid, or the folder cannot be written.
    """
    if not name:
        raise InvalidRequest("the name of the kernel is empty; leave it out for the default")
    specification = {
        "argv": [sys.executable, "-P", "-m", __package__, "-f", "{connection_file}", *options],
        "display_name": display_name,
        "language": "python",
        "interrupt_mode": "message",
        "metadata": {"debugger": False},
    }
    with TemporaryDirectory() as folder:
        (Path(folder) / "kernel.json").write_text(json.dumps(specification, indent=1))
        where = None if user else str(prefix or sys.prefix)
        try:
            installed = KernelSpecManager().install_kernel_spec(folder, name, user=user, prefix=where)
        except ValueError:
            raise InvalidRequest(
                f"{name} is not a valid name of a kernel: use letters, digits, '-', '.' and '_'"
            ) from None
        except OSError as error:
            raise InvalidRequest(f"cannot write {error.filename}: {error.strerror}; try --user") from None
    return Path(installed)
