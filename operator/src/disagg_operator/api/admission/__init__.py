"""What a well-formed DisaggDeployment may still get wrong: one rule is one small object in a table.

These rules need the specification alone; `plan.rules` has those that need to know what was derived.

Invariant: what is modelled but not built yet is refused, never ignored.
"""

from disagg_operator.api.admission.discovery import RULES as DISCOVERY_RULES
from disagg_operator.api.admission.model import RULES as MODEL_RULES
from disagg_operator.api.admission.network import RULES as NETWORK_RULES
from disagg_operator.api.admission.pods import RULES as POD_RULES
from disagg_operator.api.admission.resources import RULES as RESOURCE_RULES
from disagg_operator.api.admission.rule import Judgement, Rule, Severity, judge
from disagg_operator.api.admission.sense import RULES as SENSE_RULES
from disagg_operator.api.admission.supported import RULES as SUPPORT_RULES
from disagg_operator.api.admission.texts import RULES as TEXT_RULES
from disagg_operator.api.admission.variables import RULES as VARIABLE_RULES
from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    *MODEL_RULES,
    *SENSE_RULES,
    *TEXT_RULES,
    *DISCOVERY_RULES,
    *VARIABLE_RULES,
    *POD_RULES,
    *RESOURCE_RULES,
    *NETWORK_RULES,
    *SUPPORT_RULES,
)
"""All rules about specifications. Their ids are unique."""


_WARNINGS = tuple(rule for rule in RULES if rule.severity is Severity.WARN)


def check(resource: DisaggDeployment) -> Judgement:
    """Return what is wrong with a parsed resource, and what is doubtful about it."""
    return judge(RULES, resource.spec, resource.spec.security.allow_unsafe)


def warnings(resource: DisaggDeployment) -> tuple[Problem, ...]:
    """Return what is doubtful about a resource of which nothing is wrong."""
    return judge(_WARNINGS, resource.spec, resource.spec.security.allow_unsafe).warned
