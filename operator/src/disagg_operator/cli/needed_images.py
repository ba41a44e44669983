"""Which images a chart's values and planned deployments need, and where each comes from.

Invariant: what is listed for a deployment is what its manifests name, so that no container is forgotten.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.admission.templates import CONTAINER_LISTS
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.discovery.stores import ETCD, NATS
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.model import Plan, Provenance
from disagg_operator.plan.names import LABEL_COMPONENT
from disagg_operator.platforms.catalogue import services

CHART = "chart"
"""What uses the images of the installation itself."""


@dataclass(frozen=True)
class Need:
    """One use of an image.

    Attributes:
        image: its reference.
        by: what uses it.
        reason: why it is that one.
        source: what says so.
        in_registry: whether the reference is one of a registry; otherwise the release has it as a file.
    """

    image: str
    by: str
    reason: str
    source: str
    in_registry: bool = True


@dataclass(frozen=True)
class ChartImages:
    """The images that values of the chart name.

    Attributes:
        operator, worker: of the release; without a registry where the values name none.
        services: of etcd and NATS, where the values name them.
        named: which of operator and worker the values name.
    """

    operator: str
    worker: str
    services: Mapping[str, str]
    named: frozenset[str]


def laid_over(values: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with others over them, as Helm does: maps by key, lists whole; a null removes."""
    found = dict(values)
    for key, value in others.items():
        there = found.get(key)
        if isinstance(value, Mapping) and isinstance(there, Mapping):
            found[key] = laid_over(there, value)
        else:
            found[key] = value
    return {key: value for key, value in found.items() if value is not None}


def chart_images(values: Mapping[str, Any], version: str) -> ChartImages:
    """Return the images that the chart would take by its values.

    Args:
        values: what is given to Helm.
        version: of the chart.

    Raises:
        UserError: the values are none of the chart.
    """
    image = part(values, "image")
    repository, worker = image.get("repository"), part(values, "worker").get("image")
    registry = str(part(values, "global").get("imageRegistry") or "").removesuffix("/")
    prefix = f"{registry}/" if registry and repository else ""
    suffix = f"@{image['digest']}" if image.get("digest") else f":{image.get('tag') or version}"
    discovery = part(values, "discovery")
    given = {name: part(discovery, name).get("image") for name in (ETCD, NATS)}
    return ChartImages(
        operator=f"{prefix}{repository or 'disagg-operator'}{suffix}",
        worker=str(worker or f"disagg-worker:{version}"),
        services={name: str(found) for name, found in given.items() if found},
        named=frozenset(name for name, found in (("operator", repository), ("worker", worker)) if found),
    )


def of_chart(chart: ChartImages, *, with_services: bool) -> Iterator[Need]:
    """Yield what the installation needs.

    Args:
        chart: its images.
        with_services: whether deployments may need any service; otherwise theirs say which.
    """
    yield _released(chart, "operator", chart.operator, "image.repository")
    yield _released(chart, "worker", chart.worker, "worker.image")
    for name, profile in services().items() if with_services else ():
        by = f"{CHART} ({name}, where a deployment needs it)"
        if name in chart.services:
            yield Need(chart.services[name], by, "Set in the values.", f"discovery.{name}.image of the chart")
        else:
            yield Need(profile.image.value, by, profile.image.reason, profile.image.source)


def _released(chart: ChartImages, name: str, image: str, setting: str) -> Need:
    named = name in chart.named
    reason = "Set in the values." if named else f"The release has it as a file: push that, and set {setting}."
    return Need(image, f"{CHART} ({name})", reason, f"{setting} of the chart", in_registry=named)


def of_plan(plan: Plan, manifests: Iterable[Mapping[str, Any]], chart: ChartImages) -> Iterator[Need]:
    """Yield what the pods of a deployment need.

    Args:
        plan: the deployment's plan.
        manifests: all that is made of it.
        chart: images of the installation that it was planned for.
    """
    known = {
        entry.value: Provenance(entry.reason, entry.source, entry.line)
        for entry in explained(plan)
        if entry.name == "image"
    }
    known[chart.worker] = Provenance("The worker's image of the release.", "worker.image of the chart")
    template = Provenance("Set by the user.", "a podTemplate of the deployment")
    for manifest in manifests:
        component = manifest["metadata"].get("labels", {}).get(LABEL_COMPONENT, manifest["kind"])
        by = f"{plan.namespace}/{plan.name} ({component})"
        for image in _images(manifest):
            why = known.get(image, template)
            in_registry = image != chart.worker or "worker" in chart.named
            yield Need(image, by, why.reason, why.source, in_registry)


def _images(manifest: Mapping[str, Any]) -> Iterator[str]:
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {})
    for sort in CONTAINER_LISTS:
        yield from (container["image"] for container in pod.get(sort, ()))


def by_image(needs: Iterable[Need]) -> dict[str, Sequence[Need]]:
    """Return the uses of each image, without repetition, in the order in which they came."""
    found: dict[str, dict[Need, None]] = {}
    for need in needs:
        found.setdefault(need.image, {})[need] = None
    return {image: tuple(uses) for image, uses in found.items()}


def part(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a map among the chart's values; an empty one where there is none.

    Raises:
        UserError: there is something else.
    """
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise UserError(f"values of the chart: {name} is no map; write what `helm show values` has there")
    return found
