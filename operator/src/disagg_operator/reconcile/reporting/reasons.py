"""All reasons that conditions of a deployment can have, by their type.

Each but those that say that all is well has a heading in docs/troubleshooting.md; a test keeps both in step.
"""

from collections.abc import Mapping
from typing import get_args

from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.reconcile.computedomain.standing import Reason as DomainReason
from disagg_operator.reconcile.preflight.fault import Check
from disagg_operator.reconcile.reporting.fetching import FETCHED, PENDING, REFUSED, RUNNING
from disagg_operator.verify.verdict import Reason as VerdictReason

_FAILED = {"RetryingAfterError", "Blocked", "ReconcileError"}
"""Reasons of `view.Failure`."""

REASONS: Mapping[str, frozenset[str]] = {
    ConditionType.ACCEPTED: frozenset(
        {"Accepted", "AcceptedWithWarnings", "InvalidSpec", "NotSupported", *_FAILED}
    ),
    ConditionType.PLATFORM_READY: frozenset(
        {
            *("PlatformReady", *(check.value for check in Check)),
            *("NotChecked", "NotAccepted", "Deleting", *_FAILED),
        }
    ),
    ConditionType.AVAILABLE: frozenset(
        {
            *("ServingRequests", "RolesNotReady", "FrontendNotReady", "DiscoveryNotReady"),
            *("ScaledToZero", "TransportNotVerified"),
        }
    ),
    ConditionType.PROGRESSING: frozenset(
        {
            *("Complete", "RolloutInProgress", "RolesNotReady", "DiscoveryNotReady", "RolloutPaused"),
            *("WaitingForComputeDomain", "WaitingForModel", "Deleting", "Paused", "NotAccepted"),
            *("PlatformNotReady", "ProgressDeadlineExceeded", "VerificationFailed", "TransportNotVerified"),
            *_FAILED,
        }
    ),
    ConditionType.TRANSPORT_VERIFIED: frozenset(
        {
            *get_args(VerdictReason),
            *("SwitchedOff", "Simulated", "ScaledToZero", "WorkersNotReady", "FrontendNotReady"),
            *("RolloutInProgress", "Paused", "Measuring"),
        }
    ),
    ConditionType.COMPUTE_DOMAIN_READY: frozenset(reason.value for reason in DomainReason),
    ConditionType.MODEL_READY: frozenset({FETCHED, PENDING, RUNNING, *REFUSED}),
    ConditionType.UP_TO_DATE: frozenset({"PlannedByOtherVersion"}),
}
"""Reasons by the type of the condition."""

WELL = frozenset({"Accepted", "PlatformReady", "ServingRequests", "Complete", "AsPromised", FETCHED, "Ready"})
"""Reasons that say that all is well."""
