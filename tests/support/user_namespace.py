"""Containers in a user namespace of their own, as pods with `hostUsers: false` have: by podman and runc."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support.docker_engine import HARDENED_FULL, Deployment

FIRST_USER = 200_000
"""Number on this machine of the container's root; a pod has 65 536 users."""
_MAPPED = (f"--uidmap=0:{FIRST_USER}:65536", f"--gidmap=0:{FIRST_USER}:65536")
# Without CAP_SYS_RESOURCE the runtime may not raise resource limits, which podman requests unasked.
_RUNTIME = """#!/usr/bin/env python3
import json, os, pathlib, sys
if "create" in sys.argv:
    bundle = sys.argv[sys.argv.index("--bundle") + 1]
    path = pathlib.Path(bundle, "config.json")
    specification = json.loads(path.read_text())
    specification["process"].pop("rlimits", None)
    path.write_text(json.dumps(specification))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


def in_user_namespace(image: str, folder: Path) -> Deployment:
    """Return `image` as the component level-full deploys it; skip the test where podman cannot map users.

    `folder` is for a script.
    """
    if os.geteuid() != 0 or not all(map(shutil.which, ("podman", "runc"))):
        pytest.skip("podman and runc, run by root, are required for a container in a user namespace")
    runtime = folder / "runtime"
    runtime.write_text(_RUNTIME)
    runtime.chmod(0o755)
    with subprocess.Popen(["docker", "save", image], stdout=subprocess.PIPE) as saved:
        subprocess.run(["podman", "load", "--quiet"], stdin=saved.stdout, capture_output=True, check=True)
    return Deployment(f"localhost/{image}", (*HARDENED_FULL, *_MAPPED), ("podman", "--runtime", str(runtime)))
