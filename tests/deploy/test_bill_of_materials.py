"""Bills of materials list all packages of an image, follow CycloneDX's schema, and depend on the image alone."""

import io
import json
import random
import re
import subprocess
import sys
import tarfile
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from support.docker_engine import docker_engine, image  # noqa: F401

from tools.write_sbom import bill_of_materials, read_file_system

from .manifests import ROOT

SITE = "venv/lib/python3.11/site-packages"
FILES = {
    "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
    "var/lib/dpkg/status": (
        "Package: libc6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 2.36-9+deb12u10\n"
        "Description: C\n library\n\n"
        "Package: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
    ),
    f"{SITE}/Alpha_One-1.0.dist-info/METADATA": (
        "Metadata-Version: 2.4\nName: Alpha_One\nVersion: 1.0\nLicense-Expression: MIT\n"
        "Requires-Dist: beta>=1\nRequires-Dist: gamma; extra == 'more'\nRequires-Dist: absent\n"
        "Requires-Dist: not a requirement\n\nName: a line of the description\n"
    ),
    f"{SITE}/beta-2.0.dist-info/METADATA": (
        "Name: beta\nVersion: 2.0\nLicense: a\n text of\n lines\nClassifier: License :: OSI Approved :: BSD License\n"
    ),
    f"{SITE}/gamma-3.0.dist-info/METADATA": "Name: gamma\nVersion: 3.0\n",
    f"{SITE}/gamma/METADATA": "Name: not-a-distribution\nVersion: 1\n",
}
INSPECTED = {
    "Id": f"sha256:{'ab' * 32}",
    "Created": "2026-01-02T03:04:05.123456789Z",
    "Config": {"Labels": {"org.opencontainers.image.version": "1.2.3"}, "Env": ["PATH=/bin", "PYTHON_VERSION=3.11.9"]},
}


def document(names: list[str]) -> str:
    """Return the bill of materials of a file system with FILES in the order of `names`."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as files:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = len(FILES[name].encode())
            files.addfile(entry, io.BytesIO(FILES[name].encode()))
    content.seek(0)
    return bill_of_materials("registry.example:5000/team/deepmath-x:1.2.3", INSPECTED, read_file_system(content))


@pytest.fixture
def made() -> Any:
    return json.loads(document(list(FILES)))


def test_all_installed_packages_are_listed_and_no_other(made) -> None:
    assert {component["purl"] for component in made["components"]} == {
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12",
        "pkg:generic/python@3.11.9",
        "pkg:pypi/alpha-one@1.0",
        "pkg:pypi/beta@2.0",
        "pkg:pypi/gamma@3.0",
    }


def test_licenses_and_requirements_are_listed(made) -> None:
    licenses = {component["name"]: component.get("licenses") for component in made["components"]}
    assert licenses["alpha-one"] == [{"license": {"id": "MIT"}}]
    assert licenses["beta"] == [{"license": {"name": "BSD License"}}]
    requires = {entry["ref"]: entry.get("dependsOn", []) for entry in made["dependencies"]}
    assert requires["pkg:pypi/alpha-one@1.0"] == ["pkg:pypi/beta@2.0"]
    assert len(requires[INSPECTED["Id"]]) == len(made["components"])


def test_document_names_the_image(made) -> None:
    described = made["metadata"]["component"]
    assert (described["name"], described["version"], described["type"]) == ("deepmath-x", "1.2.3", "container")
    assert described["hashes"] == [{"alg": "SHA-256", "content": "ab" * 32}]


def test_document_follows_the_schema_and_depends_on_the_image_alone() -> None:
    documents = {document(random.Random(seed).sample(list(FILES), len(FILES))) for seed in range(8)}
    (only,) = documents
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(only) is None


@pytest.mark.slow
def test_bill_of_the_executor_lists_the_locked_versions(image, tmp_path) -> None:  # noqa: F811
    target = tmp_path / "executor.json"
    command = [sys.executable, str(ROOT / "tools" / "write_sbom.py"), image, str(target)]
    assert subprocess.run(command, check=False).returncode == 0
    found = {component["purl"] for component in json.loads(target.read_text())["components"]}
    locked = re.findall(r"^([a-z0-9.-]+)==(\S+)$", (ROOT / "constraints" / "executor.txt").read_text(), re.MULTILINE)
    assert locked
    assert [
        purl for name, version in locked if (purl := f"pkg:pypi/{name.replace('.', '-')}@{version}") not in found
    ] == []
    assert any(purl.startswith("pkg:deb/debian/libseccomp2@") for purl in found)
    assert any(purl.startswith("pkg:pypi/deepmath-executor@") for purl in found)
