"""What a deployment waits for, why, and since when: the first thing that has to happen. Pure.

Conditions are looked at in the order in which a deployment gets through them, so that the cause is told and
not what follows from it.
"""

import re
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.plan.names import ANNOTATION_PAUSED
from disagg_operator.reconcile.kinds import Object

_BLOCKERS = (
    ConditionType.ACCEPTED,
    ConditionType.PLATFORM_READY,
    ConditionType.COMPUTE_DOMAIN_READY,
    ConditionType.MODEL_READY,
)
_LONGEST = 120
_SENTENCE_ENDS = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\s+(?=(?:prefill|decode|frontend): )")
_COUNTS = re.compile(r"\w+: \d+ of \d+ ready\.")
_TO_BE_TRUE = (ConditionType.AVAILABLE, ConditionType.TRANSPORT_VERIFIED)


@dataclass(frozen=True)
class Wait:
    """What is waited for.

    Attributes:
        condition: type of the condition that tells, or nothing where none does.
        reason: stable word for programs.
        message: sentence for people.
        since: time in RFC 3339 since when, or None where nothing tells.
    """

    condition: str
    reason: str
    message: str
    since: str | None

    def brief(self, since: str = "") -> str:
        """Return it in a line: what is not so, since when, and the gist of why.

        Args:
            since: how long, in words; nothing leaves it out.
        """
        what = " ".join(part for part in (self.condition, self.reason, since) if part)
        return f"{what}: {gist(self.message)}".removesuffix(": ")

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {
            "condition": self.condition,
            "reason": self.reason,
            "message": self.message,
            "since": self.since,
        }


def gist(text: str) -> str:
    """Return the first sentence that tells more than counts, and of a long one its beginning."""
    told = [each for each in _SENTENCE_ENDS.split(" ".join(text.split())) if not _COUNTS.fullmatch(each)]
    first = told[0] if told else ""
    return first if len(first) <= _LONGEST else f"{first[:_LONGEST].rstrip()}…"


def doctor(resource: Object) -> str:
    """Return the command that tells all that is wrong with a deployment."""
    metadata = resource["metadata"]
    return f"kubectl disagg doctor {metadata['name']} --namespace {metadata['namespace']}"


def wait_of(resource: Object) -> Wait | None:
    """Return what a deployment waits for, or None where it waits for nothing."""
    metadata = resource["metadata"]
    name = metadata["name"]
    conditions = {each["type"]: each for each in resource.get("status", {}).get("conditions", [])}
    if "deletionTimestamp" in metadata:
        told = conditions.get(ConditionType.PROGRESSING, {})
        message = told.get("message") if told.get("reason") == "Deleting" else "It is being deleted."
        return Wait("", "Deleting", str(message), metadata["deletionTimestamp"])
    if not is_seen(resource):
        return Wait("", "NotSeen", _unseen(resource), _edited(metadata))
    if metadata.get("annotations", {}).get(ANNOTATION_PAUSED) == "true":
        place = f"--namespace {metadata['namespace']}"
        message = f"It is paused. Resume it: kubectl annotate dd {name} {place} {ANNOTATION_PAUSED}-"
        return Wait("", "Paused", message, _since(conditions.get(ConditionType.PROGRESSING, {})))
    for kind in _BLOCKERS:
        if conditions.get(kind, {}).get("status") == "False":
            return _of(conditions[kind])
    verified = conditions.get(ConditionType.TRANSPORT_VERIFIED, {})
    if verified.get("status") == "False" and _is_kept_by_verdict(resource):
        return _of(verified)
    progressing = conditions.get(ConditionType.PROGRESSING, {})
    if progressing and not is_complete(progressing):
        return _of(progressing)
    for kind in _TO_BE_TRUE:
        if conditions.get(kind, {}).get("status") == "False":
            return _of(conditions[kind])
    step = resource.get("status", {}).get("transport", {}).get("step")
    if step:
        since = _since(conditions.get(ConditionType.TRANSPORT_VERIFIED, {}))
        return Wait(ConditionType.TRANSPORT_VERIFIED, "Measuring", str(step), since)
    return None


def _is_kept_by_verdict(resource: Object) -> bool:
    """Tell whether the revision that is asked for may not serve because of what was measured of it."""
    status = resource["status"]
    transport = status.get("transport", {})
    wanted = status.get("updateRevision") or status.get("revision")
    enforced = resource.get("spec", {}).get("verification", {}).get("mode") == "Enforce"
    unproven = transport.get("revision") == wanted and transport.get("verifiedRevision") != wanted
    return enforced and bool(unproven)


def is_complete(progressing: Object) -> bool:
    """Tell whether condition Progressing is False because all is done, which is good."""
    return (progressing["status"], progressing["reason"]) == ("False", "Complete")


def is_seen(resource: Object) -> bool:
    """Tell whether the status is about the specification as it is now."""
    observed = resource.get("status", {}).get("observedGeneration")
    generation = resource["metadata"].get("generation")
    return observed is not None and generation in (None, observed)


def _of(condition: Object) -> Wait:
    return Wait(
        str(condition["type"]),
        str(condition["reason"]),
        str(condition.get("message", "")),
        _since(condition),
    )


def _since(condition: Object) -> str | None:
    found = condition.get("lastTransitionTime")
    return None if found is None else str(found)


def _unseen(resource: Object) -> str:
    if resource.get("status", {}).get("observedGeneration") is None:
        seen = "No operator has seen it yet."
    else:
        seen = f"The operator has not yet seen generation {resource['metadata'].get('generation')}."
    return (
        f"{seen} Is one running that watches this namespace? kubectl get pods --all-namespaces "
        "--selector app.kubernetes.io/name=disagg-operator"
    )


def _edited(metadata: Object) -> str | None:
    """Return when the specification last changed, as far as the field managers tell."""
    times = [
        str(entry["time"])
        for entry in metadata.get("managedFields", [])
        if not entry.get("subresource") and "f:spec" in entry.get("fieldsV1", {}) and "time" in entry
    ]
    return max(times, default=metadata.get("creationTimestamp"))
