"""matplotlib without a folder of the user's settings and caches.

On import it creates both, in a temporary folder if the home directory is not writable, and fails where nothing is
(https://github.com/matplotlib/matplotlib/issues/25838 and 32246). A process that forks sandboxes has no folder to write
to, or would leave one behind. It needs none: settings and fonts are those of the package, the same for every executor.
"""

import importlib
import importlib.util
import logging
import os
import threading
from pathlib import Path

_NOWHERE = "/nonexistent/matplotlib"


def import_without_user_folders() -> None:
    """Import matplotlib and its list of fonts.

    Raises:
        ModuleNotFoundError: It is not installed.
    """
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("No module named 'matplotlib'", name="matplotlib")
    settings = Path(spec.origin).with_name("mpl-data") / "matplotlibrc"
    os.environ |= {"MATPLOTLIBRC": str(settings), "MPL_IGNORE_SYSTEM_FONTS": "1"}
    try:
        import matplotlib as mpl

        mpl.get_configdir = mpl.get_cachedir = lambda: _NOWHERE
        log = logging.getLogger("matplotlib.font_manager")
        log.disabled = True  # it warns that the list of fonts cannot be saved
        importlib.import_module("matplotlib.font_manager")
        log.disabled = False
        for thread in set(threading.enumerate()) - {threading.current_thread()}:
            thread.join()  # the cancelled timer of a warning that the list takes long
    finally:
        del os.environ["MATPLOTLIBRC"], os.environ["MPL_IGNORE_SYSTEM_FONTS"]
