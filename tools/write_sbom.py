"""Write the software bill of materials of an image: `python tools/write_sbom.py IMAGE FILE`.

The file lists the Debian packages and Python distributions in the image's file system, with their versions and licenses
and with what each Python distribution requires, in CycloneDX 1.6. It depends on the image alone: the same image gives
the same bytes.
"""

import json
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import IO, Any

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name

_DPKG_STATUS = "var/lib/dpkg/status"
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")


@dataclass
class Contents:
    """Packages recorded in the file system of an image."""

    system: dict[str, str] = field(default_factory=dict)
    """The fields of os-release."""
    debian: list[Message] = field(default_factory=list)
    python: list[Message] = field(default_factory=list)


def main(image: str, target: Path) -> None:
    """Write the bill of materials of `image`.

    Raises:
        SystemExit: Docker fails, or the document does not follow CycloneDX's schema.
    """
    inspected = json.loads(_docker("image", "inspect", image))[0]
    text = bill_of_materials(image, inspected, read_image(image))
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        sys.exit(f"{target}: not valid by CycloneDX's schema: {error}")
    target.write_text(text)
    print(f"{target}: {len(json.loads(text)['components'])} packages")


def read_image(image: str) -> Contents:
    """Read the metadata of all packages from the file system of an image, which is not run."""
    container = _docker("create", "--network", "none", image, "-").strip()
    try:
        with subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE) as export:
            assert export.stdout
            return read_file_system(export.stdout)
    finally:
        _docker("rm", container)


def read_file_system(stream: IO[bytes]) -> Contents:
    """Read the metadata of all packages from a file system as tar."""
    contents = Contents()
    with tarfile.open(fileobj=stream, mode="r|") as files:
        for member in files:
            if not member.isfile():
                continue
            if member.name == _DPKG_STATUS:
                contents.debian = list(_paragraphs(_text(files, member)))
            elif member.name in _OS_RELEASE:
                contents.system = dict(_assignments(_text(files, member)))
            elif member.name.endswith(".dist-info/METADATA"):
                contents.python.append(Parser().parsestr(_text(files, member), headersonly=True))
    return contents


def bill_of_materials(image: str, inspected: Any, contents: Contents) -> str:
    """Return the document: JSON, with its parts in order."""
    labels = inspected["Config"].get("Labels") or {}
    root = Component(
        type=ComponentType.CONTAINER,
        name=image.partition("@")[0].rpartition("/")[2].partition(":")[0],
        version=labels.get("org.opencontainers.image.version", ""),
        bom_ref=inspected["Id"],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=inspected["Id"].removeprefix("sha256:"))],
    )
    bom = Bom(serial_number=uuid.uuid5(uuid.NAMESPACE_URL, inspected["Id"]))
    bom.metadata.timestamp = datetime.fromisoformat(_microseconds(inspected["Created"]))
    bom.metadata.component = root
    python = {canonicalize_name(package["Name"]): _distribution(package) for package in contents.python}
    debian = [_debian_package(package, contents.system) for package in contents.debian]
    bom.components.update([*python.values(), *debian, *_interpreter(inspected["Config"])])
    bom.register_dependency(root, bom.components)
    for package in contents.python:
        required = [python[name] for name in _requirements(package) if name in python]
        bom.register_dependency(python[canonicalize_name(package["Name"])], required)
    return str(JsonV1Dot6(bom).output_as_string(indent=2)) + "\n"


def _distribution(package: Message) -> Component:
    name, version = canonicalize_name(package["Name"]), package["Version"]
    classified = [text.rpartition(" :: ")[2] for text in package.get_all("Classifier") or [] if "License ::" in text]
    candidates = (package["License-Expression"], package["License"], *classified)
    licenses = [text for text in candidates if text and "\n" not in text]
    made = [LicenseFactory().make_from_string(licenses[0])] if licenses else []
    purl = PackageURL("pypi", None, name, version)
    return Component(
        name=name, version=version, purl=purl, bom_ref=str(purl), licenses=made, description=package["Summary"]
    )


def _interpreter(config: Any) -> Iterator[Component]:
    """Yield the interpreter of an official Python image, which is not a Debian package."""
    for variable in config.get("Env") or []:
        name, _, version = variable.partition("=")
        if name == "PYTHON_VERSION":
            purl = PackageURL("generic", None, "python", version)
            yield Component(name="python", version=version, purl=purl, bom_ref=str(purl))


def _debian_package(package: Message, system: dict[str, str]) -> Component:
    name, version = package["Package"], package["Version"]
    distribution = f"{system.get('ID', 'debian')}-{system.get('VERSION_ID', '')}".rstrip("-")
    purl = PackageURL(
        "deb", system.get("ID", "debian"), name, version, {"arch": package["Architecture"], "distro": distribution}
    )
    return Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def _requirements(package: Message) -> Iterator[NormalizedName]:
    """Yield the names of the distributions that a distribution requires without an extra."""
    for text in package.get_all("Requires-Dist") or []:
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if "extra" not in str(requirement.marker or ""):
            yield canonicalize_name(requirement.name)


def _paragraphs(text: str) -> Iterator[Message]:
    for paragraph in filter(str.strip, text.split("\n\n")):
        package = Parser().parsestr(paragraph, headersonly=True)
        if str(package["Status"]).endswith(" installed"):
            yield package


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals:
            yield name, value.strip("\"'")


def _text(files: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = files.extractfile(member)
    assert content
    return content.read().decode(errors="replace")


def _microseconds(created: str) -> str:
    """Docker's times have nanoseconds, which Python cannot read."""
    whole, point, fraction = created.removesuffix("Z").partition(".")
    return f"{whole}{point}{fraction[:6]}+00:00"


def _docker(*arguments: str) -> str:
    done = subprocess.run(["docker", *arguments], stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    return done.stdout


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: write_sbom.py IMAGE FILE")
    main(sys.argv[1], Path(sys.argv[2]))
