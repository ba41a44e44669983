"""What a well-formed DisaggDeployment may still get wrong: one rule is one small object in a table.

Invariant: what is modelled but not built yet is refused, never ignored.
"""

from disagg_operator.api.admission.overrides import honoured, unknown
from disagg_operator.api.admission.pods import RULES as POD_RULES
from disagg_operator.api.admission.resources import RULES as RESOURCE_RULES
from disagg_operator.api.admission.rule import Rule
from disagg_operator.api.admission.sense import RULES as SENSE_RULES
from disagg_operator.api.admission.supported import RULES as SUPPORT_RULES
from disagg_operator.api.admission.variables import RULES as VARIABLE_RULES
from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.resource import DisaggDeployment

RULES: tuple[Rule, ...] = (*SENSE_RULES, *VARIABLE_RULES, *POD_RULES, *RESOURCE_RULES, *SUPPORT_RULES)
"""All rules. Their ids are unique."""


def check(resource: DisaggDeployment) -> tuple[Problem, ...]:
    """Return what is wrong with a parsed resource, at most one problem of a rule for a field."""
    overridden = honoured(RULES, resource.spec.security.allow_unsafe)
    found = {
        problem: None for rule in RULES if rule.id not in overridden for problem in rule.problems(resource)
    }
    return (*found, *unknown(RULES, resource.spec.security.allow_unsafe))
