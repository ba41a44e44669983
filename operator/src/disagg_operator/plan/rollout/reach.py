"""Which revisions the frontends of a deployment send requests to.

A front door that finds workers by their scope is told the scope of one revision, or the one in which those of
all revisions are. Pure.
"""

from dataclasses import replace

from disagg_operator.plan import names
from disagg_operator.plan.model import Plan


def reaching(plan: Plan, revision: str | None) -> Plan:
    """Return the plan with frontends that send requests to one revision, or (None) to all that serve.

    A plan's own frontends send them to the plan's revision. Front doors whose command names no revision stay
    as they are: they cannot tell revisions apart, or are told each worker.

    Args:
        plan: what is desired.
        revision: a revision of the deployment, be it the plan's or another.
    """
    if not plan.frontend.reach:
        return plan
    every = names.dynamo_namespace(plan.namespace, plan.name)
    own = names.revision_scope(every, plan.revision)
    scope = every if revision is None else names.revision_scope(every, revision)
    pod = plan.frontend.pod
    command = tuple(scope if word == own else word for word in pod.command)
    frontend = replace(plan.frontend, pod=replace(pod, command=command), reach=revision or names.ALL)
    return replace(plan, frontend=frontend)
