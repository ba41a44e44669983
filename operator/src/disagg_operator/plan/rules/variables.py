"""Rules about environment variables of Dynamo: what its release does not know does nothing, silently."""

from collections.abc import Iterator
from difflib import get_close_matches

from disagg_operator.api.admission.rule import Finding, Rule, Severity, roles
from disagg_operator.api.admission.variables import WIRING
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.platforms.flags import ArgumentTable, argument_table

_PREFIX = "DYN_"
_UNREAD = ("DYN_KVBM_", "DYN_METRICS_", "DYN_HISTOGRAM_")
"""KVBM is a wheel of its own, and metrics' names are put together: the table does not have them."""


def _unknown(subject: Subject) -> Iterator[Finding]:
    version, table = subject.runtime.version, argument_table("variables")
    if subject.runtime.name != "dynamo" or not table.knows(version):
        return
    spec, known = subject.spec, table.of(version)
    places = [("spec", spec.env), ("spec.frontend", spec.frontend.env)]
    for path, variables in (*places, *((path, role.env) for path, role in roles(spec))):
        for index, each in enumerate(variables):
            read = each.name in known or not each.name.startswith(_PREFIX) or each.name.startswith(_UNREAD)
            if not read and each.name not in WIRING:
                fault = f"Dynamo {version} does not know {each.name}, and would not heed it"
                yield Finding(f"{path}.env[{index}]", fault, _instead(table, each.name, version))


def _instead(table: ArgumentTable, name: str, version: str) -> str:
    elsewhere = table.versions_with(name)
    if elsewhere:
        first, last = elsewhere[0], elsewhere[-1]
        who = f"{first} knows" if first == last else f"{first} to {last} know"
        return f"Leave it out: Dynamo {who} it"
    near = [each for each in table.of(version) if each.startswith(_PREFIX) and each not in WIRING]
    meant = get_close_matches(name, sorted(near), cutoff=0.8)
    return f"Write {' or '.join(meant)}, if that is meant" if meant else "Leave it out"


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "dynamo-variable-known",
        "Dynamo's wheels: platforms/arguments/variables.yaml",
        _unknown,
        severity=Severity.WARN,
    ),
)
