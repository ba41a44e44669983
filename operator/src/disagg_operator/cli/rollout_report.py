"""What ``kubectl disagg rollout`` shows: the steps of a rollout, and where one stands. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.rollout.moves import Pair
from disagg_operator.plan.rollout.simulation import PlannedStep
from disagg_operator.reconcile.kinds import Object

HEADINGS = (
    *("Step", "New prefill", "New decode", "Old prefill", "Old decode"),
    *("Serving meanwhile", "Instances at most"),
)
STATUS_HEADINGS = ("Revision", "Is", "Prefill ready", "Decode ready")

_FAILED = ("ProgressDeadlineExceeded", "VerificationFailed")


def rows(steps: Sequence[PlannedStep]) -> list[tuple[str, ...]]:
    """Return the table of a rollout's steps. Two numbers in a cell are of prefill and decode."""
    return [
        (
            str(number),
            *map(str, (*step.new, *step.old)),
            _both(step.available),
            _both(step.present),
        )
        for number, step in enumerate(steps, start=1)
    ]


def document(plan: Plan, old: Sequence[str], new: str, steps: Sequence[PlannedStep]) -> dict[str, Any]:
    """Return the steps for programs.

    Args:
        plan: what is to be rolled out.
        old: revisions that are there.
        new: revision that takes over.
        steps: the steps.
    """
    return {
        "namespace": plan.namespace,
        "deployment": plan.name,
        "strategy": plan.strategy,
        "oldRevisions": list(old),
        "newRevision": new,
        "limits": {
            role: {"maxSurge": limits.surge, "maxUnavailable": limits.unavailable}
            for role, limits in plan.rollout.limits.items()
        },
        "steps": [
            {
                "new": _by_role(step.new),
                "old": _by_role(step.old),
                "serving": _by_role(step.available),
                "present": _by_role(step.present),
            }
            for step in steps
        ],
    }


def title(plan: Plan, old: Sequence[str], new: str) -> str:
    """Return what stands above the table."""
    limits = "; ".join(
        f"{role}: maxSurge {found.surge}, maxUnavailable {found.unavailable}"
        for role, found in plan.rollout.limits.items()
    )
    steps = "" if plan.strategy == "Recreate" else f" ({limits})"
    return f"{plan.namespace}/{plan.name}: {plan.strategy} from {', '.join(old) or 'nothing'} to {new}{steps}"


def interruption(plan: Plan, steps: Sequence[PlannedStep], old: Sequence[str]) -> str | None:
    """Say during which steps nothing serves, or None where that never is so."""
    numbers = [number for number, step in enumerate(steps, start=1) if not all(step.available)]
    if not old or not numbers:
        return None
    when = f"step {numbers[0]}" if len(numbers) == 1 else f"steps {numbers[0]} to {numbers[-1]}"
    if plan.strategy == "Recreate":
        return f"no request is served in {when}: Recreate removes the old revision first"
    return (
        f"no request is served in {when}: there is no room for two revisions that serve. Where there is, "
        "write spec.rollout.prefill.maxSurge: 1 and decode.maxSurge: 1"
    )


def progressing(resource: Object) -> Object:
    """Return condition Progressing of the current generation; one of an older one says nothing."""
    for found in resource.get("status", {}).get("conditions", []):
        if found["type"] == "Progressing":
            current = found.get("observedGeneration") == resource["metadata"].get("generation")
            return dict(found) if current else _unseen()
    return _unseen()


def kept(resource: Object) -> str:
    """Return what is said of pods of an older version of the operator that are kept, or nothing."""
    conditions = resource.get("status", {}).get("conditions", [])
    return next(
        (
            str(each["message"])
            for each in conditions
            if (each["type"], each["status"]) == ("UpToDate", "False")
        ),
        "",
    )


def is_done(condition: Object) -> bool:
    """Tell whether nothing goes on any more."""
    return bool(condition["status"] == "False")


def has_failed(condition: Object) -> bool:
    """Tell whether the revision that the specification asks for does not serve, and will not by itself."""
    return is_done(condition) and bool(condition["reason"] != "Complete")


def status_rows(
    resource: Object, instances: Mapping[str, Mapping[str, tuple[int, int]]]
) -> list[tuple[str, ...]]:
    """Return a row for each revision.

    Args:
        resource: the DisaggDeployment.
        instances: ready and asked instances by revision and role.
    """
    target = resource.get("status", {}).get("updateRevision", "")
    failed = progressing(resource)["reason"] in _FAILED
    found = []
    for name in sorted(instances, key=lambda name: (name == target, name)):
        word = ("given up" if failed else "new") if name == target else ("restored" if failed else "old")
        cells = ("/".join(map(str, instances[name].get(role, (0, 0)))) for role in ROLES)
        found.append((name, "current" if name == target and len(instances) == 1 else word, *cells))
    return found


def _unseen() -> Object:
    message = "The operator has not yet seen this generation of the specification."
    return {"type": "Progressing", "status": "Unknown", "reason": "NotSeen", "message": message}


def _both(pair: Pair) -> str:
    return f"{pair[0]} + {pair[1]}"


def _by_role(pair: Pair) -> dict[str, int]:
    return dict(zip(ROLES, pair, strict=True))
