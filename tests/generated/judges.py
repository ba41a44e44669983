"""The four who judge a resource: API server and webhook, reconcile, lint, render; in process but the first.

The functions are those that the operator, the webhook and the command line call themselves.
"""

import asyncio
import copy
import json
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from disagg_operator.api.kubernetes.forms import LABEL
from disagg_operator.cli.planning import judged, planned
from disagg_operator.cli.render import manifests
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.cluster import UNSEEN
from disagg_operator.plan.installation import Installation
from disagg_operator.reconcile.kinds import Key
from disagg_operator.runtime.nesting import allow_deep_objects
from disagg_operator.runtime.webhook.review import answer
from generated.resources import NAMESPACE, Object
from unit.reconcile.fake_cluster import FakeCluster
from unit.reconcile.test_reconciler import reconciler

INSTALLATION = Installation(worker_image="disagg.local/worker:test")
LIMIT_SECONDS = 60.0
"""For one judge and one resource. Nothing comes near it; what hangs does not come back at all."""
USUAL_LIMIT = sys.getrecursionlimit()
EXACT = 1e21
"""From here on Go writes numbers with an exponent (encoding/json)."""
HEADER = ("apiVersion", "kind")


class HangError(Exception):
    """A judge took too long."""


@contextmanager
def in_time(seconds: float = LIMIT_SECONDS) -> Iterator[None]:
    """Interrupt the block when it takes too long."""

    def interrupt(*_: object) -> None:
        raise HangError(f"still busy after {seconds} s")

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def usual_nesting() -> Iterator[None]:
    """Let the block nest calls as deeply as Python's own limit has it, as the command line does."""
    deepest = sys.getrecursionlimit()
    sys.setrecursionlimit(USUAL_LIMIT)
    try:
        yield
    finally:
        sys.setrecursionlimit(deepest)


allow_deep_objects()  # as operator and webhook do


@dataclass(frozen=True)
class Verdict:
    """What one judge says.

    Attributes:
        accepted: whether the resource can be planned.
        faults: one line for each fault, its field first.
        nameless: faults that name no field.
    """

    accepted: bool
    faults: tuple[str, ...] = ()
    nameless: tuple[str, ...] = ()


ACCEPTED = Verdict(accepted=True)


def refused(faults: list[tuple[str, str]], resource: Any) -> Verdict:
    """Return a refusal of a resource for faults, each with its field."""
    nameless = tuple(f"{field}: {fault}" for field, fault in faults if not _is_field(field, resource))
    return Verdict(False, tuple(f"{field}: {fault}"[:300] for field, fault in faults), nameless)


def _is_field(field: str, resource: Any) -> bool:
    begins = re.split(r"[.\[]", field, maxsplit=1)[0]
    own = resource if isinstance(resource, dict) else ()
    # A key of the resource itself that is no word stands in brackets.
    return begins in (*HEADER, "spec", "metadata", *own) or field.startswith("[")


def by_lint(resource: Any) -> Verdict:
    """Judge as ``kubectl disagg lint`` does."""
    problems, _ = judged(resource, INSTALLATION)
    return refused([(each.field, each.fault) for each in problems], resource) if problems else ACCEPTED


def by_render(resource: Any) -> Verdict:
    """Judge as ``kubectl disagg render`` does, up to the manifests."""
    try:
        manifests(planned(resource, NAMESPACE, INSTALLATION, UNSEEN, "-"))
    except UserError as error:
        lines = [line.strip() for line in str(error).splitlines()[1:] if line.strip()]
        return refused([_parted(line) for line in lines], resource)
    return ACCEPTED


def by_message(message: str, resource: Any) -> Verdict:
    """Return the refusal of a resource that a message of several lines tells."""
    return refused([_parted(line) for line in message.splitlines()], resource)


def _parted(line: str) -> tuple[str, str]:
    field, _, fault = line.partition(": ")
    return field, fault


def by_webhook(resource: Any) -> Verdict:
    """Judge as the webhook does, from the text of a review to that of its answer."""
    review = {"request": {"uid": "u", "object": resource, "oldObject": None}}
    response = json.loads(json.dumps(answer(json.loads(json.dumps(review)), INSTALLATION)))["response"]
    if response["allowed"]:
        return ACCEPTED
    return by_message(response["status"]["message"], resource)


class Namespace(FakeCluster):
    """The FAKE cluster in memory, with a deployment of any name."""

    @property
    def key(self) -> Key:
        metadata = (self.resource or {}).get("metadata", {})
        return Key(metadata.get("namespace", NAMESPACE), metadata.get("name", ""))


def drive(cluster: FakeCluster) -> None:
    """Reconcile once, by the reconciler that the operator runs."""
    asyncio.run(reconciler(cluster, INSTALLATION).reconcile(cluster.key))


def stored_otherwise(resource: Object) -> Object:
    """Return a resource with what an API server adds to its metadata."""
    given = copy.deepcopy(resource)
    given["metadata"] = {"namespace": NAMESPACE, **given["metadata"], "uid": "u-1", "generation": 1}
    given["metadata"]["resourceVersion"] = "1"
    given.pop("status", None)
    return given


def by_reconcile(resource: Object) -> tuple[Verdict, Namespace]:
    """Reconcile a resource, and return the condition as a verdict, and the cluster as it is then."""
    cluster = Namespace(stored_otherwise(resource))
    drive(cluster)
    condition = cluster.condition("Accepted")
    if condition["status"] == "True":
        return ACCEPTED, cluster
    assert condition["status"] == "False", condition
    assert not cluster.objects, "something was made of a refused resource"
    return by_message(condition["message"], resource), cluster


def could_be_stored(resource: Any, said: Verdict) -> bool:
    """Tell whether an API server with a kinder schema would keep this: only the specification is at fault."""
    return isinstance(resource, dict) and all(fault.startswith("spec") for fault in said.faults)


@dataclass(frozen=True)
class Server:
    """A real API server.

    Attributes:
        http: its client, as administrator.
        path: where DisaggDeployments are created.
    """

    http: httpx.Client
    path: str

    def create(self, resource: Any, *, really: bool = False) -> tuple[Verdict, Object | None]:
        """Offer a resource; return the verdict, and what would be stored."""
        try:
            body = json.dumps(resource, allow_nan=False)
        except RecursionError:
            return Verdict(False, ("nested too deeply for the client",)), None
        params = {"fieldValidation": "Strict", **({} if really else {"dryRun": "All"})}
        headers = {"Content-Type": "application/json"}
        answered = self.http.post(self.path, content=body, params=params, headers=headers)
        if answered.status_code == httpx.codes.CREATED:
            stored: Object = answered.json()
            return ACCEPTED, stored
        if answered.status_code >= httpx.codes.INTERNAL_SERVER_ERROR and really is False:
            raise AssertionError(f"the API server failed: {answered.text[:500]}")
        return Verdict(False, (f"{answered.status_code} {answered.json()['message'][:600]}",)), None


def as_kubectl_sends(resource: Object) -> Object:
    """Return a resource as kubectl sends it to the namespace that it names: 2 for ``2.0``; without status.

    ``2.0`` as JSON is refused by the API server where a CEL rule reads it, and taken elsewhere. A status is
    not for users to write, and nobody but the API server looks at it.
    """
    sent: Object = {key: _whole(value) for key, value in resource.items() if key != "status"}
    metadata = sent.get("metadata")
    if isinstance(metadata, dict) and _is_label(metadata.get("namespace")):
        metadata["namespace"] = NAMESPACE
    return sent


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and LABEL.fits(value)


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < EXACT else value


def _text(value: Any) -> str:
    return json.dumps(value)


@dataclass(frozen=True)
class Judged:
    """All verdicts on one resource.

    Attributes:
        server: what API server and webhook say together.
        stored: what the API server would store, where it takes the resource.
        cluster: the fake cluster after a reconcile, where there was one.
        verdicts: the verdicts by judge.
    """

    server: Verdict
    stored: Object | None
    cluster: Namespace | None
    verdicts: dict[str, Verdict]

    @property
    def trouble(self) -> str:
        """What is wrong with the verdicts, or nothing."""
        said = {name: verdict.accepted for name, verdict in self.verdicts.items()}
        if len(set(said.values())) > 1:
            told = {name: verdict.faults[:2] for name, verdict in self.verdicts.items() if verdict.faults}
            return f"disagreement {_short(said)}: {told}"
        nameless = {name: verdict.nameless[:1] for name, verdict in self.verdicts.items() if verdict.nameless}
        return f"no field: {nameless}" if nameless else ""


def _short(said: dict[str, bool]) -> str:
    return ", ".join(f"{name} {'takes' if accepted else 'refuses'}" for name, accepted in said.items())


def can_be_written(resource: Any) -> bool:
    """Tell whether a file can hold a resource: half characters can only be sent, and are changed then."""
    try:
        json.dumps(resource, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def judge(resource: Any, server: Server) -> Judged:
    """Have a resource judged by all.

    Raises:
        HangError: a judge takes too long.
    """
    answered, stored = server.create(resource)
    if not answered.accepted and isinstance(resource, dict):
        # What only the way in is at fault for is judged as kubectl would send it.
        sent = as_kubectl_sends(resource)
        if _text(sent) != _text(resource):
            answered, stored = server.create(sent)
    verdicts: dict[str, Verdict] = {}
    cluster = None
    with in_time():
        verdicts["webhook"] = by_webhook(resource if stored is None else stored)
    whole = verdicts["webhook"] if answered.accepted else answered
    verdicts["server"] = whole
    if not answered.accepted:
        # Whether the webhook would refuse it too matters to nobody but a server with an older schema.
        verdicts["webhook"] = verdicts["webhook"] if not verdicts["webhook"].accepted else ACCEPTED
    written = resource if stored is None or can_be_written(resource) else stored
    with in_time(), usual_nesting():
        verdicts["lint"] = by_lint(written)
    if stored is not None or could_be_stored(resource, verdicts["lint"]):
        with in_time():
            verdicts["reconcile"], cluster = by_reconcile(resource if stored is None else stored)
    with in_time(), usual_nesting():
        verdicts["render"] = by_render(written)
    return Judged(whole, stored, cluster, verdicts)
