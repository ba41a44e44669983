"""Which platform a graph was written for: by labels of nodes, by devices, by a ComputeDomain."""

from collections.abc import Iterator
from dataclasses import dataclass

from disagg_operator.api.quantities import quantity
from disagg_operator.cli.convert.bundle import Bundle
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.graph import GPU, Component
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Cast
from disagg_operator.platforms.catalogue import GENERIC, Catalogue
from disagg_operator.platforms.profile import MachineProfile

_PRODUCT = "nvidia.com/gpu.product"
_NOT_TELLING = ("kubernetes.io/arch", "kubernetes.io/os")
"""Labels that many machines share."""
_NVLINK = "mnnvl"
_NVLINK_VARIABLE = "NCCL_MNNVL_ENABLE"
_FIRST = ("gb200-nvl72", "infiniband", "aws-p5.48xlarge", "aws-p6e-gb200.36xlarge")
"""Of several machines that fit, those that stand for the others."""


@dataclass(frozen=True)
class _Asked:
    """What workers ask of their nodes.

    Attributes:
        devices: devices of a pod by name.
        gpus: GPUs of a pod.
        product: label of the GPUs, such as ``NVIDIA-GB200``, or nothing.
        nvlink: whether a ComputeDomain or a variable asks for NVLink between nodes.
    """

    devices: dict[str, int]
    gpus: int
    product: str
    nvlink: bool


def write_platform(draft: Draft, cast: Cast, bundle: Bundle, known: Catalogue, wish: str) -> None:
    """Write ``spec.platform``.

    Args:
        draft: what is written to.
        cast: the components of the graph.
        bundle: what stands beside it.
        known: the platforms that there are.
        wish: platform that the user asks for, or nothing.
    """
    name, how = (wish, "by --platform") if wish else _found(cast, bundle, known)
    draft.write("spec.platform", name)
    draft.choose("platform", name, how)


def _found(cast: Cast, bundle: Bundle, known: Catalogue) -> tuple[str, str]:
    components = [worker.component for worker in cast.workers]
    labels = [label for each in components for label in node_labels(each)]
    for machine in known.machines.values():
        for label in machine.node_labels:
            if label.name not in _NOT_TELLING and (label.name, label.value) in labels:
                return machine.name, f"by the node label {label.name}: {label.value}"
    asked = _asked(components, labels, bundle)
    if not asked.devices and not asked.nvlink:
        return GENERIC, "nothing asks for a fabric, so plain TCP: --platform says another"
    fitting = [machine for machine in known.machines.values() if _fits(machine, known, asked)]
    counted = [machine for machine in fitting if _counts(machine, asked)] or fitting
    names = sorted((machine.name for machine in counted), key=lambda name: (name not in _FIRST, name))
    evidence = ", ".join([f"{name}: {count}" for name, count in asked.devices.items()])
    evidence = " and ".join(
        word for word in (evidence, "a ComputeDomain" if asked.nvlink else "", asked.product) if word
    )
    if not names:
        return GENERIC, f"no known platform has {evidence}: make a profile, docs/platforms.md says how"
    chosen = next((name for name in _FIRST if name in names), names[0])
    others = [name for name in names if name != chosen]
    rest = f"; it fits {', '.join(others)} as well: --platform says which" if others else ""
    return chosen, f"by {evidence}{rest}"


def _asked(components: list[Component], labels: list[tuple[str, str]], bundle: Bundle) -> _Asked:
    devices: dict[str, int] = {}
    gpus = 0
    for component in components:
        for name, part in component.amounts("limits"):
            count = int(quantity(part.value) or 0)
            if name == GPU:
                gpus = gpus or count
            elif "/" in name:
                devices.setdefault(name, count)
    claimed = any(is_channel(claim, bundle) for each in components for claim in each.resource_claims())
    enabled = any(
        variable.value not in (None, "0")
        for each in components
        if (variable := each.effective().get(_NVLINK_VARIABLE))
    )
    product = next((value for name, value in labels if name == _PRODUCT), "")
    return _Asked(devices, gpus, product, claimed or enabled or bool(bundle.compute_domains))


def _fits(machine: MachineProfile, known: Catalogue, asked: _Asked) -> bool:
    names = {device.name for device in machine.devices}
    kinds = {fabric.kind for fabric in known.fabrics_of(machine)}
    if not asked.devices.keys() <= names or (_NVLINK in kinds) != asked.nvlink:
        return False
    if not asked.devices and names:
        return False
    return not asked.product or machine.gpus is None or machine.gpus.model in asked.product.split("-")


def _counts(machine: MachineProfile, asked: _Asked) -> bool:
    """Tell whether a pod would get just as many devices there."""
    whole = machine.gpus.count if machine.gpus else asked.gpus
    for device in machine.devices:
        if device.name not in asked.devices:
            continue
        count = device.per_pod or (device.per_gpu or 0) * asked.gpus
        if device.per_node is not None and whole:
            count = max(device.per_node * asked.gpus // whole, 1)
        if count != asked.devices[device.name]:
            return False
    return True


def is_channel(claim: Part, bundle: Bundle) -> bool:
    """Tell whether a resource claim is for a channel of a ComputeDomain."""
    templates = {
        domain.at("spec", "channel", "resourceClaimTemplate", "name").text
        for domain in bundle.compute_domains
    }
    template = claim["resourceClaimTemplateName"].text
    return template in templates or "compute-domain" in f"{claim['name'].text} {template}"


def node_labels(component: Component) -> Iterator[tuple[str, str]]:
    """Yield the labels that nodes of a component must have, each value of several."""
    for name, part in component.pod["nodeSelector"].items():
        yield name, part.text
    required = component.pod.at("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    for term in required["nodeSelectorTerms"].entries():
        for expression in term["matchExpressions"].entries():
            if expression["operator"].text == "In":
                for value in expression["values"].entries():
                    yield expression["key"].text, value.text
