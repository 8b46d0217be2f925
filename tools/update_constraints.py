"""Resolve the versions in `constraints/`: `python tools/update_constraints.py [OPTION OF uv pip compile ...]`.

A file pins the complete dependencies of one image, of the development environment (`dev`) or of all services on a
GPU (`gpu`), for the tested platform. It names no index, no path, and no distribution of this repository. The CPU files
agree with `dev.txt`, the CUDA files with `gpu.txt`. The options apply to the files that need torch's CPU build;
`make constraints` passes them.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints"
PLATFORM, DEVELOPMENT_PLATFORM = "x86_64-manylinux_2_28", "x86_64-manylinux_2_31"  # Envoy, for tests, needs the latter
SERVICES, EXECUTOR, GENERATOR, TRAINER, GATEWAY = (
    "pyproject.toml",
    *(f"services/{name}/pyproject.toml" for name in ("executor", "generator", "trainer", "gateway")),
)
USER_EXTRAS = ("sandbox", "evaluation", "reasoning-gym", "smolagents", "jupyter", "mcp", "tracing", "certs")

# By file: the distributions that are installed together, and their extras.
DEVELOPMENT = ((SERVICES, EXECUTOR, GENERATOR, TRAINER, GATEWAY), (*USER_EXTRAS, "docker", "cpu", "bench", "dev"))
CPU_FILES = {
    "services": ((SERVICES,), USER_EXTRAS),
    "executor": ((SERVICES, EXECUTOR), ("tracing",)),
    "executor-plots": ((SERVICES, EXECUTOR), ("tracing", "plots")),
    "generator-cpu": ((SERVICES, GENERATOR), ("tracing", "cpu")),
    "trainer-cpu": ((SERVICES, TRAINER), ("tracing",)),
    "gateway": ((SERVICES, GATEWAY), ("tracing",)),
}
EVERYTHING_CUDA = ((SERVICES, EXECUTOR, GENERATOR, TRAINER, GATEWAY), (*USER_EXTRAS, "docker", "gpu"))
CUDA_FILES = {
    "generator-cuda": ((SERVICES, GENERATOR), ("tracing", "gpu")),
    "generator-cuda-ray": ((SERVICES, GENERATOR), ("tracing", "gpu", "ray")),
    "trainer-cuda": ((SERVICES, TRAINER), ("tracing",)),
}
BUILD_REQUIREMENTS = "hatchling>=1.27,<2\nuv>=0.9,<1\n"


def main(cpu_options: list[str]) -> None:
    """Write every file, or exit with uv's status at the first that cannot be resolved."""
    CONSTRAINTS.mkdir(exist_ok=True)
    _resolve("build", ["-"], requirements=BUILD_REQUIREMENTS)
    _resolve("dev", [*_sources(*DEVELOPMENT), *cpu_options], platform=DEVELOPMENT_PLATFORM)
    for name, distributions in CPU_FILES.items():
        # vLLM's CPU build depends on triton, a gigabyte of GPU compiler that it never imports.
        agree = ["--constraints", str(CONSTRAINTS / "dev.txt"), "--no-emit-package", "triton"]
        _resolve(name, [*_sources(*distributions), *agree, *cpu_options])
    os.environ.pop("UV_FIND_LINKS", None)  # it may hold torch's CPU build
    _resolve("gpu", _sources(*EVERYTHING_CUDA))
    for name, distributions in CUDA_FILES.items():
        _resolve(name, [*_sources(*distributions), "--constraints", str(CONSTRAINTS / "gpu.txt")])


def _sources(pyprojects: tuple[str, ...], extras: tuple[str, ...]) -> list[str]:
    return [*pyprojects, *(f"--extra={extra}" for extra in extras)]


def _resolve(name: str, arguments: list[str], requirements: str | None = None, platform: str = PLATFORM) -> None:
    command = [str(Path(sys.executable).with_name("uv")), "pip", "compile", "--quiet", "--no-header", "--no-annotate"]
    target = ["--python-version", "3.11", "--python-platform", platform]
    resolved = subprocess.run(
        [*command, *target, *arguments], cwd=ROOT, input=requirements, stdout=subprocess.PIPE, text=True, check=False
    )
    if resolved.returncode:
        sys.exit(resolved.returncode)
    # `torch==2.13.0` also matches 2.13.0+cpu, which only PyTorch's index has.
    (CONSTRAINTS / f"{name}.txt").write_text(re.sub(r"\+cpu$", "", resolved.stdout, flags=re.MULTILINE))


if __name__ == "__main__":
    main(sys.argv[1:])
