"""Rules about environment variables of Dynamo: what its release does not know does nothing, silently."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity, roles
from disagg_operator.api.admission.variables import WIRING
from disagg_operator.plan.rules.remedies import instead
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.flags import ArgumentTable, argument_table

_PREFIX = "DYN_"
_UNREAD = ("DYN_KVBM_", "DYN_METRICS_", "DYN_HISTOGRAM_")
"""KVBM is a wheel of its own, and metrics' names are put together: the table does not have them."""


def _unknown(subject: Subject) -> Iterator[Finding]:
    if subject.runtime.name != "dynamo":
        return
    spec, version = subject.spec, subject.runtime.version
    places = [("spec", spec.env), ("spec.frontend", spec.frontend.env)]
    for path, variables in (*places, *((path, role.env) for path, role in roles(spec))):
        for index, each in enumerate(variables):
            if (
                each.name.startswith(_PREFIX)
                and not each.name.startswith(_UNREAD)
                and each.name not in WIRING
            ):
                table = argument_table("variables")
                if table.knows(version) and version not in table.versions_with(each.name):
                    fault = f"Dynamo {version} does not know {each.name}, and would not heed it"
                    yield Finding(f"{path}.env[{index}]", fault, _instead(table, each.name, version))


def _instead(table: ArgumentTable, name: str, version: str) -> str:
    near = (each for each in table.of(version) if each.startswith(_PREFIX) and each not in WIRING)
    return instead("Dynamo", table, name, near, likeness=0.8)


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "dynamo-variable-known",
        "Dynamo's wheels: platforms/arguments/variables.yaml",
        _unknown,
        severity=Severity.WARN,
    ),
)
