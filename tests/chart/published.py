"""Definitions of other projects' kinds, as published, which the chart and the examples make objects of.

Run as a program it writes them anew into definitions/, from the Go modules that hold them. Left out are
descriptions and, of Issuer, the larger sorts of issuers: no object of ours may have what is left out.
"""

import io
import urllib.request
import zipfile
from pathlib import Path
from typing import Any

import yaml

DEFINITIONS = Path(__file__).with_name("definitions")
CERT_MANAGER = ("github.com/cert-manager/cert-manager", "v1.21.2", "deploy/crds")
KEDA = ("github.com/kedacore/keda/v2", "v2.21.0", "config/crd/bases")
PROMETHEUS = (
    "github.com/prometheus-operator/prometheus-operator",
    "v0.85.0",
    "example/prometheus-operator-crd",
)
SOURCES = {
    "cert-manager.io_certificates": CERT_MANAGER,
    "cert-manager.io_issuers": CERT_MANAGER,
    "keda.sh_scaledobjects": KEDA,
    "monitoring.coreos.com_podmonitors": PROMETHEUS,
    "monitoring.coreos.com_prometheusrules": PROMETHEUS,
    "monitoring.coreos.com_servicemonitors": PROMETHEUS,
}
"""Module, version and folder of each file."""
_LARGE_ISSUERS = ("acme", "vault", "venafi")


def definitions() -> list[dict[str, Any]]:
    """Return the definitions that are stored."""
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(DEFINITIONS.glob("*.yaml"))]


def without_descriptions(schema: Any, *, names: bool = False) -> Any:
    """Return a schema without its descriptions.

    Args:
        schema: the schema, or a part of it.
        names: whether its keys are names of fields, not of the schema's own words.
    """
    if isinstance(schema, dict):
        return {
            key: without_descriptions(part, names=key == "properties" and not names)
            for key, part in schema.items()
            if names or key != "description"
        }
    return [without_descriptions(part) for part in schema] if isinstance(schema, list) else schema


def reduced(definition: dict[str, Any]) -> dict[str, Any]:
    """Return what of a definition is stored."""
    spec = without_descriptions(definition["spec"])
    if spec["names"]["kind"] == "Issuer":
        for version in spec["versions"]:
            for name in _LARGE_ISSUERS:
                del version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"][name]
    metadata = {"name": definition["metadata"]["name"]}
    return {**{key: definition[key] for key in ("apiVersion", "kind")}, "metadata": metadata, "spec": spec}


def write() -> None:
    """Fetch the modules and write the definitions."""
    for name, (module, version, folder) in SOURCES.items():
        address = f"https://proxy.golang.org/{module}/@v/{version}.zip"
        with urllib.request.urlopen(address) as answer:
            archive = zipfile.ZipFile(io.BytesIO(answer.read()))
        path = f"{module}@{version}/{folder}/{name}.yaml"
        made = yaml.safe_dump(
            reduced(yaml.safe_load(archive.read(path))), sort_keys=False, width=160, default_flow_style=None
        )
        (DEFINITIONS / f"{name}.yaml").write_text(
            f"# From {path}; see published.py.\n{made}", encoding="utf-8"
        )


if __name__ == "__main__":
    write()
