"""The documents of a file: graphs, and what stands beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.cli.convert.graph import GRAPH, GROUP
from disagg_operator.cli.convert.part import Part

COMPUTE_DOMAIN = "ComputeDomain"


@dataclass(frozen=True)
class Bundle:
    """What a file holds.

    Attributes:
        graphs: its DynamoGraphDeployments.
        config_maps: its ConfigMaps by name.
        compute_domains: its ComputeDomains.
        others: documents of other kinds.
    """

    graphs: tuple[Part, ...]
    config_maps: Mapping[str, Part] = field(default_factory=dict)
    compute_domains: tuple[Part, ...] = ()
    others: tuple[Part, ...] = ()

    @property
    def beside(self) -> tuple[Part, ...]:
        """All documents that are no graphs."""
        return (*self.config_maps.values(), *self.compute_domains, *self.others)


def bundle_of(documents: Iterable[Any]) -> Bundle:
    """Return the documents of a file by their kinds."""
    graphs, domains, others = [], [], []
    config_maps: dict[str, Part] = {}
    for document in _flattened(documents):
        kind = str(document.get("kind"))
        metadata = document.get("metadata")
        name = str(metadata.get("name", "?")) if isinstance(metadata, dict) else "?"
        part = Part(f"{kind}/{name}", (), document)
        if kind == GRAPH and str(document.get("apiVersion")).startswith(f"{GROUP}/"):
            graphs.append(part)
        elif kind == "ConfigMap":
            config_maps[name] = part
        elif kind == COMPUTE_DOMAIN:
            domains.append(part)
        else:
            others.append(part)
    return Bundle(tuple(graphs), config_maps, tuple(domains), tuple(others))


def _flattened(documents: Iterable[Any]) -> Iterable[dict[str, Any]]:
    """Yield the objects of documents, those of a List one by one."""
    for document in documents:
        if not isinstance(document, dict):
            continue
        items = document.get("items")
        if str(document.get("kind")).endswith("List") and isinstance(items, list):
            yield from _flattened(items)
        else:
            yield document
