"""Rules about what the platform promises: a deployment must not exclude all of it.

The two differ in severity alone: where verification is enforced, such a revision would never serve.
"""

from collections.abc import Callable, Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.operations import VerificationMode
from disagg_operator.plan.excluded import excluding
from disagg_operator.plan.rules.subject import Subject, written_at

_SOURCE = "docs/troubleshooting.md, WorseTransport"


def _excluded(subject: Subject) -> Iterator[Finding]:
    promised = [each.transport for each in subject.plan.promised]
    for _, role in subject.roles():
        setting = excluding(role, promised)
        if setting is not None:
            names = " or ".join(sorted(each.spoken for each in promised))
            fault = f"UCX_TLS={setting.value} excludes what this platform's fabric promises, {names}"
            remedy = "Leave UCX_TLS out: the platform sets what fits"
            yield Finding(written_at(role, setting), fault, remedy)


def _where(enforced: bool) -> Callable[[Subject], Iterator[Finding]]:
    def find(subject: Subject) -> Iterator[Finding]:
        if (subject.spec.verification.mode is VerificationMode.ENFORCE) is enforced:
            yield from _excluded(subject)

    return find


RULES: tuple[Rule[Subject], ...] = (
    Rule("ucx-tls-as-promised", _SOURCE, _where(enforced=False), severity=Severity.WARN),
    Rule("ucx-tls-as-promised-enforced", _SOURCE, _where(enforced=True), unsafe=True),
)
