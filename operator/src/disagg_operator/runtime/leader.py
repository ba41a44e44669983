"""Leader election by a Lease: of all operator processes, one works and the others stand by.

Invariants, under clocks that run equally fast (they need not agree on the time):
- a holder counts itself as leading until `DEADLINE_SECONDS` after it *sent* the last renewal that succeeded;
- a candidate takes the Lease over only after it saw it unchanged for the holder's `DURATION_SECONDS`, which
  is longer. So the old holder has stopped before the new one begins;
- `check` says within which time a write must be over, so that none is still under way by then.
Only the process's own monotonic clock is compared with itself; the times inside the Lease are for people.
"""

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import Kind, Object

logger = logging.getLogger(__name__)

LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
DURATION_SECONDS = 15
DEADLINE_SECONDS = 10.0
RENEW_SECONDS = 4.0
POLL_SECONDS = 2.0
_TRY_SECONDS = 4.0
"""Time for one try to renew or release: a connection that has gone dead must leave time for another one, and
hold no process up that is to end."""
_RETRY_SECONDS = 0.5
_CONFLICT = 409


class Leases(Protocol):
    """Where Leases are read and written; see `kube.KubeCluster`."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Return the Lease."""
        ...

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create the Lease."""
        ...

    async def update(self, kind: Kind, obj: Object) -> Object:
        """Replace the Lease, unless it changed."""
        ...


class LeaseLostError(Exception):
    """This process no longer leads, and must end at once."""


@dataclass
class Elector:
    """One candidate for one Lease.

    Attributes:
        leases: where the Lease is.
        namespace, name: which Lease it is.
        identity: what this process calls itself in it; no two processes at a time may share it.
    """

    leases: Leases
    namespace: str
    name: str
    identity: str

    def __post_init__(self) -> None:
        self._seen: tuple[str, float] | None = None
        self._leading_until: float | None = None

    def check(self) -> float:
        """Return the seconds within which nobody else leads: what is begun now must be over by then.

        Raises:
            LeaseLostError: this process does not lead.
        """
        left = (self._leading_until or 0.0) - self._now()
        if self._leading_until is None or left <= 0:
            raise LeaseLostError(f"{self.identity} does not hold the Lease {self.namespace}/{self.name}")
        return left + DURATION_SECONDS - DEADLINE_SECONDS

    async def acquire(self, waiting: Callable[[str], None] = lambda _: None) -> None:
        """Return once this process holds the Lease.

        Args:
            waiting: is told who holds it, once for each holder.
        """
        told = None
        while True:
            try:
                holder = await self._try()
            except ClusterError as error:
                logger.warning("could not reach the Lease: %s", error)
            else:
                if holder == self.identity:
                    return
                if holder != told:
                    waiting(holder)
                    told = holder
            await asyncio.sleep(POLL_SECONDS * (0.8 + 0.4 * random.random()))  # noqa: S311 - spreads load

    async def hold(self) -> None:
        """Renew the Lease until it is lost.

        Raises:
            LeaseLostError: somebody else holds it, or it could not be renewed in time.
        """
        pause = RENEW_SECONDS
        while True:
            await asyncio.sleep(max(0.0, min(pause, (self._leading_until or 0.0) - self._now())))
            self.check()
            try:
                async with asyncio.timeout_at(min(self._leading_until or 0.0, self._now() + _TRY_SECONDS)):
                    holder = await self._try()
            except (ClusterError, TimeoutError) as error:
                logger.warning("could not renew the Lease: %s", str(error) or "no answer in time")
                pause = _RETRY_SECONDS
                continue
            if holder != self.identity:
                self._leading_until = None
                raise LeaseLostError(f"{holder} took the Lease {self.namespace}/{self.name}")
            pause = RENEW_SECONDS

    async def release(self) -> None:
        """Give the Lease up, so that the next candidate need not wait for it to run out."""
        if self._leading_until is None:
            return
        self._leading_until = None
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                await self._give_up()
        except (ClusterError, TimeoutError) as error:
            logger.warning("could not release the Lease: %s", str(error) or "no answer in time")

    async def _give_up(self) -> None:
        lease = await self.leases.get(LEASE, self.namespace, self.name)
        if lease["spec"].get("holderIdentity") == self.identity:
            spec = {
                **lease["spec"],
                "holderIdentity": "",
                "leaseDurationSeconds": 1,
                "renewTime": _time(),
            }
            await self.leases.update(LEASE, {**lease, "spec": spec})

    async def _try(self) -> str:
        """Take or renew the Lease if that is allowed; return who holds it then."""
        lease: Object | None = None
        with suppress(NotFoundError):
            lease = await self.leases.get(LEASE, self.namespace, self.name)
        spec = lease["spec"] if lease is not None else {}
        holder = spec.get("holderIdentity") or ""
        if lease is not None and holder not in ("", self.identity) and not self._ran_out(lease):
            return str(holder)
        sent = self._now()
        try:
            await self._write(lease, spec, holder)
        except ClusterError as error:
            if error.code != _CONFLICT or holder == self.identity:
                raise
            return "another candidate"
        self._leading_until = sent + DEADLINE_SECONDS
        return self.identity

    def _ran_out(self, lease: Object) -> bool:
        """Tell whether the Lease was seen unchanged for as long as its holder asked for."""
        version = lease["metadata"]["resourceVersion"]
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, self._now())
        duration: float = lease["spec"].get("leaseDurationSeconds", DURATION_SECONDS)
        return self._now() - self._seen[1] > duration

    async def _write(self, lease: Object | None, spec: Object, holder: str) -> Object:
        now = _time()
        mine = holder == self.identity
        new = {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": spec.get("acquireTime", now) if mine else now,
            "renewTime": now,
            "leaseTransitions": spec.get("leaseTransitions", 0) + (0 if mine or lease is None else 1),
        }
        if lease is None:
            metadata = {"namespace": self.namespace, "name": self.name}
            body = {"apiVersion": LEASE.api_version, "kind": LEASE.kind, "metadata": metadata, "spec": new}
            return await self.leases.create(LEASE, body)
        return await self.leases.update(LEASE, {**lease, "spec": new})

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _time() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
