"""The CustomResourceDefinition as text: plain YAML, and the same as a template of the Helm chart.

Invariant: same models, same bytes.
"""

from typing import Any

import yaml

_HEADER = (
    "Made from operator/src/disagg_operator/api/v1alpha1 by `python -m disagg_operator.api.crd`; do not edit."
)

_CHART_METADATA = """\
metadata:
  name: {name}
  labels:
    {{{{- include "disagg-operator.labels" . | nindent 4 }}}}
  annotations:
    disagg.dev/chart-version: {{{{ .Chart.Version | quote }}}}
    {{{{- if .Values.crds.keep }}}}
    helm.sh/resource-policy: keep
    {{{{- end }}}}
"""


def plain(crd: dict[str, Any]) -> str:
    """Return a definition as YAML."""
    return f"# {_HEADER}\n{_yaml(crd)}"


def template(crd: dict[str, Any]) -> str:
    """Return a definition as a template that the chart's values ``crds.enabled`` and ``crds.keep`` govern."""
    head = "".join(f"{key}: {crd[key]}\n" for key in ("apiVersion", "kind"))
    spec = _yaml({"spec": crd["spec"]}).replace("{{", '{{ "{{" }}')
    metadata = _CHART_METADATA.format(name=crd["metadata"]["name"])
    guarded = f"{{{{- if .Values.crds.enabled }}}}\n{head}{metadata}{spec}{{{{- end }}}}\n"
    return f"{{{{- /* {_HEADER} */}}}}\n{guarded}"


class _Dumper(yaml.SafeDumper):
    """Writes repeated parts in full: anchors are hard to read in a diff."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def _yaml(document: dict[str, Any]) -> str:
    # A field a line: short to read as a diff, and half the size of one with a line for each of its keywords.
    return yaml.dump(
        document, Dumper=_Dumper, sort_keys=True, width=1000, default_flow_style=None, allow_unicode=True
    )
