"""The port to the verifier: what it is asked, and what it answers.

Invariants: a question is equal to another exactly if one answer will do for both, apart from addresses; the
answer is kept in the deployment's status, so that who asked is not asked twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol

from disagg_operator.api.transport import Promise
from disagg_operator.reconcile.kinds import Key

Truth = Literal["True", "False", "Unknown"]
Confidence = Literal["High", "Medium", "Low"]


@dataclass(frozen=True)
class WorkerPod:
    """A worker pod whose evidence counts.

    Attributes:
        name: of the pod.
        role: prefill or decode.
        address: IP of the pod.
        container: name of the engine's container, whose log is read.
        group: number of its pod group, where an instance has several nodes; else nothing.
    """

    name: str
    role: str
    address: str
    container: str
    group: str = ""


@dataclass(frozen=True)
class VerificationAsked:
    """One verification that is to be made.

    Attributes:
        namespace, name: of the deployment.
        revision: revision of the workers.
        request: text of the annotation ``disagg.dev/verify``, or nothing.
        after: when the last result was found; another time asks for another run.
        address: URL of the frontend's Service.
        frontends: URLs of frontend pods whose container is ready, ready for clients or not.
        workers: worker pods of the revision that are ready.
        agent_port: port of the agent on each worker pod.
        model: name that requests ask for.
        promises: what the workers of each role were promised.
        mode: Warn or Enforce.
        canary: whether requests may be sent.
        prompt_tokens: length of the canary's prompt, or None for the default.
        least_tokens: length below which no KV cache would move for it.
        kv_bytes_per_token: as the user says, or None for the model's own.
        kv_dtype: data type of the KV cache as configured, or nothing for the model's own.
        shared: whether workers of another revision answer requests as well, so that a canary may miss.
    """

    namespace: str
    name: str
    revision: str
    request: str
    after: datetime | None
    address: str
    frontends: tuple[str, ...]
    workers: tuple[WorkerPod, ...]
    agent_port: int
    model: str
    promises: Mapping[str, Promise]
    mode: str
    canary: bool = True
    prompt_tokens: int | None = None
    least_tokens: int = 1
    kv_bytes_per_token: int | None = None
    kv_dtype: str = ""
    shared: bool = False

    @property
    def round(self) -> tuple[str, str, datetime | None]:
        """What tells one run from another."""
        return self.revision, self.request, self.after


@dataclass(frozen=True)
class VerificationResult:
    """What a verification found.

    Attributes:
        verified: whether KV cache moves as promised.
        reason: stable word for programs (CamelCase).
        message: one sentence, with what to do.
        label: what was seen to carry KV cache, such as ``NIXL/UCX srd``; nothing where that is unknown.
        role_labels: the same by role.
        bytes, expected_bytes: KV cache that moved, and that had to.
        gbps: rate in 10^9 bytes a second.
        devices_used, devices_given: devices of the fabric.
        confidence: how sure that is.
        evidence: what it was concluded from, a few short lines.
        time: when it was found.
    """

    verified: Truth
    reason: str
    message: str
    time: datetime
    label: str = ""
    role_labels: Mapping[str, str] = field(default_factory=dict)
    bytes: int | None = None
    expected_bytes: int | None = None
    gbps: float | None = None
    devices_used: int | None = None
    devices_given: int | None = None
    confidence: Confidence | None = None
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class VerificationState:
    """How far a verification is.

    Attributes:
        step: what it does now, for people; nothing once there is a result.
        result: what it found, or None while it runs.
    """

    step: str = ""
    result: VerificationResult | None = None


class Verifier(Protocol):
    """Measures how KV cache moves."""

    def want(self, key: Key, asked: VerificationAsked) -> VerificationState:
        """Return the result of a run, or start or continue it. Never waits and never fails.

        The deployment is reconciled when the answer changes. A run of another round of the same deployment is
        ended. A result is kept until `forget` or another round, since writing it down may fail.

        Args:
            key: the deployment.
            asked: what is to be measured.
        """
        ...

    def forget(self, key: Key) -> None:
        """End the run of a deployment that is gone, or not to be verified any more."""
        ...
