"""What may be wrong with a deployment once it is known what was derived for it: rules about whole plans.

A rule here needs the platform's facts or the derived settings; rules about the specification alone are in
`api.admission`, and both judge alike in the operator, in ``kubectl disagg lint`` and in the webhook.
"""

from collections.abc import Iterator
from typing import Any

from disagg_operator.api import admission
from disagg_operator.api.admission.overrides import unknown
from disagg_operator.api.admission.rule import Finding, Judgement, Rule, judge
from disagg_operator.plan.rules.architecture import RULES as ARCHITECTURE_RULES
from disagg_operator.plan.rules.arguments import RULES as ARGUMENT_RULES
from disagg_operator.plan.rules.claims import RULES as CLAIM_RULES
from disagg_operator.plan.rules.computedomain import RULES as COMPUTE_DOMAIN_RULES
from disagg_operator.plan.rules.devices import RULES as DEVICE_RULES
from disagg_operator.plan.rules.engineconfig import RULES as ENGINE_CONFIG_RULES
from disagg_operator.plan.rules.fabric import RULES as FABRIC_RULES
from disagg_operator.plan.rules.hostaccess import RULES as HOST_ACCESS_RULES
from disagg_operator.plan.rules.instances import RULES as INSTANCE_RULES
from disagg_operator.plan.rules.kvbm import RULES as KVBM_RULES
from disagg_operator.plan.rules.pods import RULES as POD_RULES
from disagg_operator.plan.rules.privilege import RULES as PRIVILEGE_RULES
from disagg_operator.plan.rules.promises import RULES as PROMISE_RULES
from disagg_operator.plan.rules.releases import RULES as RELEASE_RULES
from disagg_operator.plan.rules.roles import RULES as ROLE_RULES
from disagg_operator.plan.rules.routing import RULES as ROUTING_RULES
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.plan.rules.timeouts import RULES as TIMEOUT_RULES
from disagg_operator.plan.rules.transceiver import RULES as TRANSCEIVER_RULES
from disagg_operator.plan.rules.variables import RULES as VARIABLE_RULES


def _unknown_overrides(subject: Subject) -> Iterator[Finding]:
    unsafe = {rule.id: rule.unsafe for rule in every_rule()}
    return unknown(unsafe, subject.spec.security.allow_unsafe)


RULES: tuple[Rule[Subject], ...] = (
    *DEVICE_RULES,
    *ARCHITECTURE_RULES,
    *FABRIC_RULES,
    *PROMISE_RULES,
    *PRIVILEGE_RULES,
    *HOST_ACCESS_RULES,
    *RELEASE_RULES,
    *ROLE_RULES,
    *ENGINE_CONFIG_RULES,
    *TRANSCEIVER_RULES,
    *ARGUMENT_RULES,
    *INSTANCE_RULES,
    *TIMEOUT_RULES,
    *KVBM_RULES,
    *ROUTING_RULES,
    *VARIABLE_RULES,
    *CLAIM_RULES,
    *POD_RULES,
    *COMPUTE_DOMAIN_RULES,
    Rule("allow-unsafe-known", "docs: spec.security.allowUnsafe", _unknown_overrides),
)
"""All rules about plans. Their ids are unique, among those of `api.admission` too."""


def every_rule() -> tuple[Rule[Any], ...]:
    """Return the rules about specifications and those about plans."""
    return (*admission.RULES, *RULES)


def check(subject: Subject) -> Judgement:
    """Return what is wrong with a planned deployment and what is doubtful about it."""
    allowed = subject.spec.security.allow_unsafe
    planned = judge(RULES, subject, allowed)
    return Judgement(planned.refused, (*admission.warnings(subject.resource), *planned.warned))
