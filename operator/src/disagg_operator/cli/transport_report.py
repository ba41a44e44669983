"""What a deployment's status says about its transport: how far a verification is, and what it found. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from disagg_operator.api.v1alpha1.operations import VerificationMode
from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.waiting import doctor, wait_of
from disagg_operator.plan.names import ANNOTATION_PAUSED, FRONTEND

HEADINGS = ("Field", "Value")
WORKERS = ("prefill", "decode")
_CODES = {"True": Code.VERIFIED, "False": Code.NOT_VERIFIED}
_STYLES = {"True": "bold green", "False": "bold red", "Unknown": "bold yellow"}
_RUNNING = {"step", "summary"}
"""Fields of status.transport that speak of what goes on, not of what was found."""


@dataclass(frozen=True)
class Progress:
    """How far a requested verification is.

    Attributes:
        done: whether the request is answered.
        heard: whether the operator has taken it up.
        waits: whether the deployment is not ready to be measured.
        step: what goes on, in words.
    """

    done: bool
    heard: bool
    waits: bool
    step: str


def transport(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return status.transport, which is empty for a deployment that no operator has seen."""
    found: Mapping[str, Any] = resource.get("status", {}).get("transport", {})
    return found


def obstacle(resource: Mapping[str, Any]) -> str:
    """Return why a deployment is not verified at all, with what to do; nothing where it is."""
    metadata, spec = resource["metadata"], resource.get("spec", {})
    name, where = metadata["name"], f"--namespace {metadata['namespace']}"
    if spec.get("verification", {}).get("mode") == VerificationMode.OFF:
        patch = '{"spec": {"verification": {"mode": "Warn"}}}'
        return (
            f"verification of {name} is off: spec.verification.mode is Off. Write Warn or Enforce instead; "
            f"the workers are then replaced by such with a transport agent: kubectl patch dd {name} {where} "
            f"--type merge --patch '{patch}'"
        )
    if spec.get("runtime", {}).get("engine") == Engine.MOCKER:
        return (
            f"{name} moves no KV cache: its engine, Dynamo's mocker, simulates. There is nothing to verify."
        )
    if metadata.get("annotations", {}).get(ANNOTATION_PAUSED) == "true":
        return (
            f"{name} is paused, so that the operator leaves it alone. Resume it: "
            f"kubectl annotate dd {name} {where} {ANNOTATION_PAUSED}-"
        )
    if "deletionTimestamp" in metadata:
        return f"{name} is being deleted."
    return ""


def progress(resource: Mapping[str, Any], request: str, before: Mapping[str, Any]) -> Progress:
    """Return how far the verification is that was asked for.

    Args:
        resource: the deployment now.
        request: text of the annotation that asked.
        before: status.transport when it was asked.
    """
    now = transport(resource)
    if now.get("request") == request:
        return Progress(done=True, heard=True, waits=False, step="")
    heard = now != before  # a step that was there before may be an operator's that has ended since
    if heard and now.get("step"):
        return Progress(done=False, heard=True, waits=False, step=now["step"])
    waits = _waits(resource)
    step = waits or "waiting for the operator to take the request up"
    return Progress(done=False, heard=heard, waits=bool(waits), step=step)


def _waits(resource: Mapping[str, Any]) -> str:
    status = resource.get("status", {})
    if status.get("observedGeneration") is None:
        return ""
    unready = []
    for role in (*WORKERS, FRONTEND):
        found = status.get("roles", {}).get(role, {})
        ready, desired = found.get("readyReplicas", 0), found.get("desiredReplicas", 0)
        if not desired:
            unready.append(f"{role} has no replicas")
        elif ready < desired:
            unready.append(f"{role} {ready}/{desired}")
    if unready:
        return f"waiting until all are ready: {', '.join(unready)}{_cause(resource)}"
    if status.get("revision") != status.get("updateRevision"):
        return f"waiting until the rollout to revision {status.get('updateRevision')} is done"
    return ""


def _cause(resource: Mapping[str, Any]) -> str:
    """Return why workers do not run, as far as more is known than that, and what tells more."""
    wait = wait_of(dict(resource))
    if wait is None or wait.brief() == f"{wait.condition} {wait.reason}".strip():
        return ""
    return f". {wait.brief().rstrip('.')}. See: {doctor(dict(resource))}"


def code(resource: Mapping[str, Any]) -> Code:
    """Return the exit code that tells the result."""
    return _CODES.get(transport(resource).get("verified", ""), Code.UNKNOWN)


def document(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result for machines: status.transport without what still runs, and the roles'."""
    found = {name: value for name, value in transport(resource).items() if name not in _RUNNING}
    wait = wait_of(dict(resource))
    return {
        "namespace": resource["metadata"]["namespace"],
        "name": resource["metadata"]["name"],
        "verified": "Unknown",
        **_unmeasured(resource),
        **found,
        "waitsFor": None if wait is None else wait.document(),
        "roles": {role: {"transport": label} for role, label in _roles(resource) if label},
    }


def _unmeasured(resource: Mapping[str, Any]) -> dict[str, str]:
    """Return why nothing was measured, as the condition tells it until there is a result."""
    conditions = resource.get("status", {}).get("conditions", [])
    told = [each for each in conditions if each["type"] == ConditionType.TRANSPORT_VERIFIED]
    return {part: str(each[part]) for each in told for part in ("reason", "message") if each.get(part)}


def rows(resource: Mapping[str, Any]) -> Iterator[tuple[str | Text, ...]]:
    """Yield the result for people, under `HEADINGS`."""
    found = transport(resource)
    verified = found.get("verified", "Unknown")
    why = {**_unmeasured(resource), **found}
    yield "verified", Text(f"{verified} ({why.get('reason', 'NotSeen')})", style=_STYLES[verified])
    if why.get("message"):
        yield "message", str(why["message"])
    wait = wait_of(dict(resource))
    if wait is not None:
        yield "waits for", wait.brief()
        yield "next", doctor(dict(resource))
    yield "transport", Text(_transport(found), style="bold")
    for role, label in _roles(resource):
        yield role, label or "unknown"
    yield "KV cache", _amount(found)
    yield "rate", "unknown" if found.get("gbps") is None else f"{found['gbps']:g} GB/s"
    if found.get("devicesGiven") is not None:
        yield "devices", f"{found.get('devicesUsed', 0)} used of {found['devicesGiven']} given"
    yield "confidence", found.get("confidence", "none")
    if found.get("time"):
        yield "measured", f"{found['time']}, revision {found.get('revision', 'unknown')}"
    for line in found.get("evidence", []):
        yield "evidence", str(line)


def _transport(found: Mapping[str, Any]) -> str:
    return found.get("observed") or f"not seen; configured is {found.get('configured') or 'nothing'}"


def _roles(resource: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    roles = resource.get("status", {}).get("roles", {})
    for role in WORKERS:
        yield role, roles.get(role, {}).get("transport", "")


def _amount(found: Mapping[str, Any]) -> str:
    moved, expected = found.get("bytes"), found.get("expectedBytes")
    if moved is None:
        return "none was seen to move" if not expected else f"none was seen to move of {expected:,} bytes"
    if not expected:
        return f"{moved:,} bytes; how many had to move is not known"
    return f"{moved:,} bytes of {expected:,} expected ({moved / expected:.1%})"
