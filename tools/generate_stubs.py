"""Write the typed stubs of `protos/` into FOLDER (default: the repository): `python tools/generate_stubs.py [FOLDER]`."""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"


def generate(target: Path) -> list[Path]:
    """Write the stubs of every contract under `target` and return their paths."""
    sources = sorted(PROTOS.rglob("*.proto"))
    arguments = ["protoc", f"--proto_path={PROTOS}", f"--proto_path={files('grpc_tools') / '_proto'}"]
    arguments += [f"--{plugin}_out={target}" for plugin in ("python", "mypy", "grpc_python")]
    arguments += [f"--mypy_grpc_out=only_async:{target}"]
    if status := protoc.main([*arguments, *map(str, sources)]):
        raise SystemExit(status)
    stubs = []
    for source in sources:
        folder = target / source.parent.relative_to(PROTOS)
        stubs += sorted(folder.glob(f"{source.stem}_pb2*.py*"))
        for package in (folder, folder.parent):
            (package / "__init__.py").touch()
    return stubs


if __name__ == "__main__":
    generate(Path(sys.argv[1] if len(sys.argv) > 1 else ROOT).resolve())
