"""Push images to a registry and print their digests: `python tools/push_images.py REGISTRY VERSION NAME=IMAGE ...`.

REGISTRY is a host, with a port and a path if there are any. NAME is the image's name in the manifests. The output is an
`images:` field for a kustomization. `make push` calls this program.
"""

import re
import subprocess
import sys
from dataclasses import dataclass

_DIGEST = re.compile(r"digest: (sha256:[0-9a-f]{64})")
_HOST = r"([A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(:[0-9]+)?"
_REGISTRY = re.compile(_HOST + "(/[a-z0-9._/-]*[a-z0-9])?")


@dataclass(frozen=True)
class Reference:
    """The parts of an image's name. A colon before the last slash is that of the registry's port."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, text: str) -> "Reference":
        """Return the parts of `text`, as Docker reads it."""
        name, _, digest = text.partition("@")
        folders, slash, last = name.rpartition("/")
        base, _, tag = last.partition(":")
        return cls(folders + slash + base, tag, digest)

    @property
    def base(self) -> str:
        """The last part of the repository's path."""
        return self.repository.rpartition("/")[2]


def main(registry: str, version: str, images: list[str]) -> None:
    """Tag and push each image; exit with Docker's status at the first that fails."""
    if not _REGISTRY.fullmatch(registry.rstrip("/")):
        sys.exit(f"{registry!r} is not a registry; name its host, port and path: make push REGISTRY=host:5000/deepmath")
    print("images:")
    for entry in images:
        name, _, image = entry.partition("=")
        repository, digest = push(registry.rstrip("/"), version, image)
        print(f"  - name: {name}\n    newName: {repository}\n    digest: {digest}", flush=True)


def push(registry: str, version: str, image: str) -> tuple[str, str]:
    """Push a local image; return its repository and its digest."""
    reference = Reference.parse(image)
    source = image if reference.tag or reference.digest else f"{image}:{version}"
    repository = f"{registry}/{reference.base}"
    target = f"{repository}:{reference.tag or version}"
    _docker("tag", source, target)
    pushed = _docker("push", target)
    found = _DIGEST.search(pushed)
    if not found:
        sys.exit(f"docker push {target} printed no digest")
    print(f"pushed {target}", file=sys.stderr)
    return repository, found[1]


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit("usage: push_images.py REGISTRY VERSION NAME=IMAGE ...")
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
