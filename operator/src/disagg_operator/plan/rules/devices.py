"""Rules about GPUs and adapters: what the machine has bounds what a pod may ask for."""

from collections.abc import Iterator

from disagg_operator.api.admission.resources import GPU, entry
from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.admission.templates import containers, mapping, templates
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.profile import Device

_WORKER = "worker"
"""Name of the container that computes."""


def _gpus(subject: Subject) -> Iterator[Finding]:
    node = subject.platform.machine.gpus
    for path, role in subject.roles():
        if node is not None and role.gpus > node.count:
            fault = f"a pod asks for {role.gpus} GPUs, and {subject.platform.machine.name} has {node.count}"
            nodes = -(-role.gpus * role.nodes // node.count)
            remedy = f"Write nodesPerReplica: {nodes} or more, or a smaller parallelism"
            yield Finding(f"{path}.gpusPerNode", fault, remedy)


def _other_gpus(subject: Subject) -> Iterator[Finding]:
    """Find another number of GPUs in a podTemplate; none at all may come by a claim instead."""
    gpus = subject.platform.machine.gpus
    name = GPU if gpus is None else gpus.resource
    for path, template in templates(subject.spec):
        role = subject.plan.roles.get(path.removeprefix("spec.").removesuffix(".podTemplate"))
        for place, container in containers(path, template):
            if role is None or container.get("name") != _WORKER or not role.gpus:
                continue
            for kind in ("requests", "limits"):
                count = mapping(mapping(container, "resources"), kind).get(name)
                if str(count) not in ("None", "0", str(role.gpus)):
                    fault = f"{count} GPUs for {role.gpus} ranks, which have one each"
                    remedy = f"Leave it out and write spec.{role.role}.gpusPerNode and parallelism"
                    yield Finding(entry(f"{place}.resources", kind, name), fault, remedy)


def _above_machine(subject: Subject) -> Iterator[Finding]:
    known = _devices(subject)
    for path, role in subject.roles():
        for device in role.pod.devices:
            whole = _whole(known.get(device.name))
            if whole is not None and device.count > whole:
                fault = f"{device.count} is above the {whole} that {subject.platform.machine.name} has"
                yield Finding(entry(path, "devices", device.name), fault, f"Write at most {whole}")


def _idle(subject: Subject) -> Iterator[Finding]:
    node = subject.platform.machine.gpus
    known = _devices(subject)
    for path, role in subject.roles():
        if node is None or not role.gpus:
            continue
        pods = node.count // role.gpus
        scarce = [
            device.name
            for device in role.pod.devices
            if (whole := _whole(known.get(device.name))) is not None and whole < device.count * pods
        ]
        if pods > 1 and scarce:
            fault = (
                f"a pod with {role.gpus} of a node's {node.count} GPUs leaves other pods too few {scarce[0]}"
            )
            remedy = f"Give a pod all {node.count} GPUs or fewer devices, so that none stay idle"
            yield Finding(f"{path}.gpusPerNode", fault, remedy)


def _foreign(subject: Subject) -> Iterator[Finding]:
    if subject.platform.machine.gpus is None:
        return
    known = _devices(subject)
    written = {"spec.prefill": subject.spec.prefill, "spec.decode": subject.spec.decode}
    for path, role in written.items():
        for name, count in (role.devices or {}).items():
            if count and name not in known:
                fault = f"the profile of {subject.platform.machine.name} knows no device {name}"
                remedy = "Leave it out, or make sure that the nodes offer it: kubectl describe nodes"
                yield Finding(entry(path, "devices", name), fault, remedy)


def _left_out(subject: Subject) -> Iterator[Finding]:
    known = _devices(subject)
    for path, role in (("spec.prefill", subject.spec.prefill), ("spec.decode", subject.spec.decode)):
        for name, count in (role.devices or {}).items():
            if name in known and count == 0:
                fault = f"without {name}, workers cannot use {subject.platform.fabrics[0].name} for KV cache"
                yield Finding(entry(path, "devices", name), fault, "Write at least 1, or watch what moves it")


def _none_asked(subject: Subject) -> Iterator[Finding]:
    """Find workers that get no adapter because the profile counts them by GPUs, of which they have none."""
    by_gpu = [device.name for device in _devices(subject).values() if device.per_gpu]
    if not by_gpu or subject.plan.transfer.simulated:
        return
    for path, role in (("spec.prefill", subject.spec.prefill), ("spec.decode", subject.spec.decode)):
        planned = subject.plan.roles[path.removeprefix("spec.")]
        claims = mapping(role.pod_template or {}, "spec").get("resourceClaims")
        # Of counts that are written, `_left_out` speaks.
        if not (planned.gpus or planned.pod.devices or role.devices or claims):
            fault = f"without {by_gpu[0]}, workers cannot use {subject.platform.fabrics[0].name} for KV cache"
            remedy = f"Write {{{by_gpu[0]}: 1}}: the profile gives one for each GPU, and they have none"
            yield Finding(f"{path}.devices", fault, remedy)


def _whole(device: Device | None) -> int | None:
    return None if device is None else device.per_node or device.on_node


def _devices(subject: Subject) -> dict[str, Device]:
    return {device.name: device for layer in subject.platform.layers for device in layer.devices}


RULES: tuple[Rule[Subject], ...] = (
    Rule("gpus-within-machine", "the machine's profile", _gpus),
    Rule(
        "gpus-equal-in-template",
        "https://github.com/NVIDIA/TensorRT-LLM/blob/main/docs/source/features/parallel-strategy.md",
        _other_gpus,
        unsafe=True,
    ),
    Rule("devices-within-machine", "the machine's profile", _above_machine),
    Rule("devices-for-all-gpus", "the machine's profile", _idle, severity=Severity.WARN),
    Rule("devices-of-fabric", "the machine's profile", _left_out, severity=Severity.WARN),
    Rule("devices-without-gpus", "the machine's profile", _none_asked, severity=Severity.WARN),
    Rule("devices-of-machine", "the machine's profile", _foreign, severity=Severity.WARN),
)
