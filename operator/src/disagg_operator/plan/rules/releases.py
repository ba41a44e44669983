"""Rules about releases: what the profiles of Dynamo's and TensorRT-LLM's versions say against a choice."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.rules.subject import Subject


def _doubtful_method(subject: Subject) -> Iterator[Finding]:
    chosen = subject.plan.transfer.method
    for method in subject.platform.release.methods:
        if method.value == chosen and method.doubt is not None:
            others = [each.value for each in subject.platform.release.methods if each.doubt is None]
            remedy = f"Write {' or '.join(others)}, or watch that KV cache moves"
            yield Finding("spec.transfer.method", f"{chosen}: {method.doubt}", remedy)


def _doubtful_release(subject: Subject) -> Iterator[Finding]:
    for doubt in subject.runtime.doubts:
        yield Finding("spec.runtime.version", doubt.reason, doubt.remedy)


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "transfer-method-doubtful",
        "the release's profile",
        _doubtful_method,
        severity=Severity.WARN,
        says="what the release's profile doubts of it",
    ),
    Rule(
        "release-doubtful",
        "the release's profile",
        _doubtful_release,
        severity=Severity.WARN,
        says="what the release's profile doubts of it",
    ),
)
