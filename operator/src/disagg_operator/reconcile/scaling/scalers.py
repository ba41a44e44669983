"""Keeps the DisaggScalers of a deployment: makes them, and tells on them what became of their count.

Invariant: the count of a scaler that is there is never written.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.applying.diff import identity, is_terminating, stamp
from disagg_operator.reconcile.cluster import Cluster, Recorder
from disagg_operator.reconcile.errors import attempt
from disagg_operator.reconcile.kinds import DISAGG_SCALER, Object, describe
from disagg_operator.reconcile.observe import Observed
from disagg_operator.reconcile.reporting.view import View
from disagg_operator.reconcile.scaling.status import scaler_status

_LIMITED = "ScalingLimited"


def applied(obj: Object, observed: Observed) -> Object:
    """Return a scaler as it is to be applied: with a count only where it is not there yet.

    Args:
        obj: the scaler as planned.
        observed: what is there.
    """
    ours = stamp({key: value for key, value in obj.items() if key != "spec"})
    return ours if identity(obj) in observed.objects else {**ours, "spec": obj["spec"]}


@dataclass(frozen=True)
class ScalerKeeper:
    """Sees to DisaggScalers.

    Attributes:
        cluster: where objects are written.
        recorder: where Events go.
    """

    cluster: Cluster
    recorder: Recorder

    async def make(self, scaler: Object) -> None:
        """Make a scaler, or take over one of its name; its count then counts, whoever wrote it."""
        if not await attempt(self.cluster.create_once(scaler), f"create {describe(scaler)}"):
            ours = {key: value for key, value in scaler.items() if key != "spec"}
            await attempt(self.cluster.apply(ours), f"apply {describe(scaler)}")

    async def report(self, resource: Object, view: View, now: datetime) -> None:
        """Write the status of each scaler where it changed."""
        for role, scaler in _scalers(resource, view.observed):
            planned = None if view.plan is None else view.plan.scaler(role)
            if view.plan is not None and planned is None:
                continue  # it is on its way out
            old, new = scaler.get("status", {}), scaler_status(scaler, role, planned, view, now)
            if new == old:
                continue
            await attempt(self.cluster.patch_status(scaler, new), f"write the status of {describe(scaler)}")
            limited = _condition(new)
            if limited["status"] == "True" and limited["message"] != _condition(old).get("message"):
                self.recorder.record(
                    resource, "Warning", _LIMITED, f"{describe(scaler)}: {limited['message']}"
                )


def _scalers(resource: Object, observed: Observed) -> Iterator[tuple[str, Object]]:
    for role in ROLES:
        name = names.scaler(resource["metadata"]["name"], role)
        found = observed.objects.get((DISAGG_SCALER.kind, name))
        if found is not None and not is_terminating(found):
            yield role, found


def _condition(status: Object) -> Object:
    """Return condition ScalingLimited."""
    found: list[Object] = [each for each in status.get("conditions", []) if each["type"] == _LIMITED]
    return found[0] if found else {"status": "Unknown"}
