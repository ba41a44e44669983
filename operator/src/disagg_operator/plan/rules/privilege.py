"""Rules about security contexts: more privilege than is proven to be needed, or less."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.operations import SecurityMode
from disagg_operator.plan.rules.subject import Subject

_FIELD = "spec.security.mode"


def _unproven(subject: Subject) -> Iterator[Finding]:
    mode = subject.spec.security.mode
    for fabric in subject.platform.fabrics:
        for each in fabric.security:
            if each.mode == mode.value and not each.proven:
                fault = f"{mode} is not proven to work over {fabric.name}: {each.reason}"
                yield Finding(_FIELD, fault, "Watch that KV cache moves over the fabric, or write Platform")


def _too_little(subject: Subject) -> Iterator[Finding]:
    mode = subject.spec.security.mode
    if mode is SecurityMode.PLATFORM:
        return
    for fabric in subject.platform.fabrics:
        if mode.value not in {each.mode for each in fabric.security} and mode is not SecurityMode.PRIVILEGED:
            fault = f"{fabric.name} is not known to work with {mode}"
            known = " or ".join(each.mode for each in fabric.security)
            yield Finding(_FIELD, fault, f"Write {known} or Platform unless you have seen it work")


def _too_much(subject: Subject) -> Iterator[Finding]:
    mode = subject.spec.security.mode
    needed = {each.mode for fabric in subject.platform.fabrics for each in fabric.security}
    if mode is SecurityMode.PRIVILEGED and mode.value not in needed:
        fault = "no fabric of this platform needs privileged workers"
        yield Finding(_FIELD, fault, "Write Platform, which gives what the fabric needs and no more")


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "privilege-proven",
        "https://github.com/NVIDIA/TensorRT-LLM/pull/17208",
        _unproven,
        severity=Severity.WARN,
    ),
    Rule("privilege-enough", "the fabric's profile", _too_little, severity=Severity.WARN),
    Rule(
        "privilege-least",
        "https://kubernetes.io/docs/concepts/security/pod-security-standards/",
        _too_much,
        severity=Severity.WARN,
    ),
)
