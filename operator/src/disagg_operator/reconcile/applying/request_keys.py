"""Keys by which workers know the requests of their frontend: made once for each deployment, never read back.

As with ssh keys, nobody looks whether a Secret is there. One is offered while it may be lacking: before there
is a frontend, and while a pod of the deployment waits for what it needs to start.
"""

import secrets

from disagg_operator.plan.frontends.trtllm_serve import KEY_FILE
from disagg_operator.plan.model import Plan
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed, has_node, has_started

_BYTES = 32


def may_lack(observed: Observed) -> bool:
    """Tell whether a Secret may be missing: there is no frontend yet, or a pod waits."""
    return observed.frontend() is None or _waits(observed)


def is_awaited(plan: Plan | None, observed: Observed) -> bool:
    """Tell whether there is a key, and a pod waits that may wait for it."""
    return plan is not None and plan.frontend.request_key is not None and _waits(observed)


def _waits(observed: Observed) -> bool:
    return any(has_node(pod) and not has_started(pod) for pod in observed.pods)


def with_new_key(secret: Object) -> Object:
    """Return the Secret with a key of its own in place of its placeholder."""
    return {**secret, "stringData": {KEY_FILE: secrets.token_hex(_BYTES)}}
