"""The drain of a frontend: it is asked to end once its requests have ended and no more can come."""

from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import DrainPlan
from disagg_operator.plan.scripts import script
from disagg_operator.platforms.profile import Drain


def drain_plan(drain: Drain, port: int, seconds: int) -> DrainPlan:
    """Return how a frontend drains.

    Args:
        drain: what the release's frontend needs.
        port: port of its HTTP server.
        seconds: longest time that its requests are waited for.
    """
    arguments = (str(port), drain.path, drain.gauge, str(drain.route_seconds), str(seconds))
    return DrainPlan(("python3", "-c", script("await_requests.py"), *arguments), seconds, provenance(drain))
