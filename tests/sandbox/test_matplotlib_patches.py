"""matplotlib in a zygote: it writes no file, and is as in any other process otherwise."""

import json
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, logging, os, threading
from deepmath.sandbox.inside.matplotlib_patches import user_folders
before = dict(os.environ)
user_folders.import_without_user_folders()
import matplotlib.pyplot
from matplotlib import font_manager
descriptors = ["/proc/self/fd/" + at for at in os.listdir("/proc/self/fd")]
print(json.dumps({
    "folders": [matplotlib.get_configdir(), matplotlib.get_cachedir()],
    "fonts": sorted({font.name for font in font_manager.fontManager.ttflist if font.name.startswith("DejaVu S")}),
    "foreign": [font.fname for font in font_manager.fontManager.ttflist if "mpl-data" not in font.fname],
    "open": [name for name in descriptors if os.path.exists(name) and "font" in os.readlink(name)],
    "silent": logging.getLogger("matplotlib.font_manager").disabled,
    "threads": threading.active_count(),
    "changed": dict(os.environ) != before,
}))
"""


def test_import_writes_nothing(tmp_path: Path) -> None:
    home, temporary = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    temporary.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(temporary), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-P", "-c", PROGRAM]
    ended = subprocess.run(command, env=environment, cwd=home, check=True, capture_output=True, text=True)
    assert (list(home.iterdir()), list(temporary.iterdir()), ended.stderr) == ([], [], "")
    assert json.loads(ended.stdout) == {
        "folders": ["/nonexistent/matplotlib"] * 2,
        "fonts": ["DejaVu Sans", "DejaVu Sans Display", "DejaVu Sans Mono", "DejaVu Serif", "DejaVu Serif Display"],
        "foreign": [],
        "open": [],
        "silent": False,
        "threads": 1,
        "changed": False,
    }
