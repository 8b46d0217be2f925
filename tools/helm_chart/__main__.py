"""Write the Helm chart from deploy/k8s: `python -m tools.helm_chart [FOLDER]`, by default deploy/helm/deepmath.

kustomize renders the overlays cpu-demo and gpu without a component, with each and with each pair. What all renderings
share becomes the text of the templates, what some have gets a condition, and what `parameters.yaml` names becomes a
value. `_helpers.tpl` and `NOTES.txt` in the chart are written by hand: they compute the numbers that depend on each
other.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

from .kubernetes_commands import kustomize
from .parameters import Parameters
from .renderings import GPU, NAMESPACE, ROOT, Key, Renderings, render_all
from .superposition import Mapping, superpose
from .template_writer import TemplateWriter
from .values_writer import gpu_values, schema, values

CHART = ROOT / "deploy" / "helm" / "deepmath"
GENERATED = "Generated from deploy/k8s by `make chart`; do not edit."
_CHART = """\
# {generated}
apiVersion: v2
name: deepmath
description: A maths-reasoning agent and the system that trains it.
type: application
version: {version}
appVersion: "{version}"
kubeVersion: ">=1.32.0-0"
"""


def main(target: Path = CHART) -> None:
    """Replace the generated files of the chart in `target`.

    Raises:
        SystemExit: neither kubectl nor kustomize is installed.
    """
    if not (command := kustomize()):
        sys.exit("install kubectl or kustomize: `make kubernetes-tools`")
    renderings = render_all(command)
    files = chart_files(renderings)
    for old in ("templates", "files"):
        for path in sorted((target / old).rglob("*"), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix not in {".tpl", ".txt"}:
                path.unlink()
    for name, text in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def chart_files(renderings: Renderings) -> dict[str, str]:
    """Return the generated files of the chart by their path in it."""
    parameters = Parameters()
    components = [feature for feature in renderings.features if feature != GPU]
    plain, differing = parameters.defaults(renderings.objects[frozenset()], renderings.objects[frozenset({GPU})])
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    return {
        "Chart.yaml": _CHART.format(generated=GENERATED, version=version),
        "values.yaml": values(parameters, plain, components, GENERATED),
        "values-gpu.yaml": gpu_values(plain, differing, GENERATED),
        "values.schema.json": schema(parameters, components),
        **_templates(renderings, parameters),
    }


def _templates(renderings: Renderings, parameters: Parameters) -> dict[str, str]:
    writer = TemplateWriter(tuple(renderings.features), parameters)
    everywhere = frozenset(renderings.objects)
    found: dict[str, str] = {}
    for key in sorted({key for objects in renderings.objects.values() for key in objects}):
        kind, _, name = key
        if kind == "Namespace" and name == NAMESPACE:
            continue  # Helm installs into an existing namespace
        having = {chosen: objects[key] for chosen, objects in renderings.objects.items() if key in objects}
        node = superpose(having)
        assert isinstance(node, Mapping)
        text = writer.template(key, node, everywhere, frozenset(having))
        found[_path(key)] = f"{{{{- /* {GENERATED} */ -}}}}\n{text}"
    found["templates/exclusive.yaml"] = _exclusive(renderings, writer)
    return found | writer.files


def _path(key: Key) -> str:
    kind, _, name = key
    return f"templates/{name}/{re.sub('(?<=[a-z])(?=[A-Z])', '-', kind).lower()}.yaml"


def _exclusive(renderings: Renderings, writer: TemplateWriter) -> str:
    lines = [f"{{{{- /* {GENERATED} */ -}}}}"]
    for pair in renderings.exclusive:
        one, other = sorted(writer.value(feature) for feature in pair)
        lines += [
            f"{{{{- if and {one} {other} }}}}",
            f'{{{{- fail "{one[8:]} and {other[8:]} exclude each other" }}}}',
            "{{- end }}",
        ]
    for feature in renderings.need_gpu:
        component = writer.value(feature)
        lines += [
            f"{{{{- if and {component} (not {writer.value(GPU)}) }}}}",
            f'{{{{- fail "{component[8:]} needs {writer.value(GPU)[8:]}" }}}}',
            "{{- end }}",
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
