"""Rules about GPUs and adapters: what the machine has bounds what a pod may ask for."""

from collections.abc import Iterator

from disagg_operator.api.admission.resources import entry
from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.profile import Device


def _gpus(subject: Subject) -> Iterator[Finding]:
    node = subject.platform.machine.gpus
    for path, role in subject.roles():
        if node is not None and role.gpus > node.count:
            fault = f"a pod asks for {role.gpus} GPUs, and {subject.platform.machine.name} has {node.count}"
            nodes = -(-role.gpus * role.nodes // node.count)
            remedy = f"Write nodesPerReplica: {nodes} or more, or a smaller parallelism"
            yield Finding(f"{path}.gpusPerNode", fault, remedy)


def _above_machine(subject: Subject) -> Iterator[Finding]:
    known = _devices(subject)
    for path, role in subject.roles():
        for device in role.pod.devices:
            whole = known[device.name].per_node if device.name in known else None
            if whole is not None and device.count > whole:
                fault = f"{device.count} is above the {whole} that {subject.platform.machine.name} has"
                yield Finding(entry(path, "devices", device.name), fault, f"Write at most {whole}")


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


def _devices(subject: Subject) -> dict[str, Device]:
    return {device.name: device for layer in subject.platform.layers for device in layer.devices}


RULES: tuple[Rule[Subject], ...] = (
    Rule("gpus-within-machine", "the machine's profile", _gpus),
    Rule("devices-within-machine", "the machine's profile", _above_machine),
    Rule("devices-of-machine", "the machine's profile", _foreign, severity=Severity.WARN),
)
