"""Caches of ComputeDomains and claim templates: what they show, and whom their changes wake."""

import asyncio
from typing import Any

from disagg_operator.reconcile.errors import NotFoundError
from disagg_operator.reconcile.kinds import Key, Kind, Object
from disagg_operator.runtime.domains import ComputeDomains

KEY, OTHER = Key("ns", "demo"), Key("ns", "other")
DOMAIN, TEMPLATE = "demo-compute-domain", "demo-compute-domain-channel"
UID_LABEL = "resource.nvidia.com/computeDomain"
OURS = {"app.kubernetes.io/managed-by": "disagg-operator", "disagg.dev/deployment": "demo"}


class Schemas:
    """A fake API server that knows one schema, or none."""

    def __init__(self, spec: Object | None) -> None:
        self.spec = spec

    async def schema(self, kind: Kind) -> Object:
        if self.spec is None:
            raise NotFoundError(404, "NotFound", f"no {kind.kind}")
        return {"properties": {"spec": self.spec}}


def obj(name: str, labels: dict[str, str] | None = None, **more: Any) -> Object:
    metadata = {"name": name, "namespace": "ns", "uid": f"uid-of-{name}", "managedFields": ["long"]}
    return {"metadata": metadata | ({"labels": labels} if labels else {}), **more}


def caches(spec: Object | None = None, *, readable: bool = True, listed: bool = True) -> ComputeDomains:
    found = ComputeDomains(Schemas(spec), readable=readable)
    for cache in found.caches if listed else ():
        cache.keep_only(None, set())
    return found


def test_nothing_is_served_before_both_lists_are_in() -> None:
    known = caches(listed=False)
    assert not known.look(KEY, DOMAIN, TEMPLATE).served
    domains, templates = known.caches
    assert domains.keep_only("ns", set()) == {KEY}
    assert not known.look(KEY, DOMAIN, TEMPLATE).served
    assert templates.keep_only("ns", set()) == {KEY}
    assert known.look(KEY, DOMAIN, TEMPLATE).served


def test_a_driver_that_goes_and_comes_back_wakes_who_looks() -> None:
    known = caches()
    known.look(KEY, DOMAIN, TEMPLATE)
    domains, _ = known.caches
    domains.put(obj(DOMAIN, OURS))
    assert domains.refuse() == {KEY}
    assert domains.refuse() == set(), "still gone: no news"
    seen = known.look(KEY, DOMAIN, TEMPLATE)
    assert (seen.served, seen.domain) == (False, None)
    assert domains.keep_only(None, set()) == {KEY}


def test_a_change_wakes_who_looks_and_whose_label_it_carries() -> None:
    known = caches()
    domains, templates = known.caches
    known.look(OTHER, DOMAIN, "x")
    assert domains.put(obj(DOMAIN, OURS)) == {KEY, OTHER}
    assert domains.put(obj(DOMAIN, OURS, status={"status": "Ready"})) == set(), "nothing that is read"
    nodes = {"nodes": [{"name": "a", "ipAddress": "10.0.0.1", "cliqueID": "c", "status": "Ready"}]}
    assert domains.put(obj(DOMAIN, OURS, status=nodes)) == {KEY, OTHER}
    assert templates.put(obj("unrelated")) == set()
    known.ignore(OTHER)
    assert domains.remove(("ns", DOMAIN)) == {KEY}


def at(version: int, **more: Any) -> Object:
    """Our ComputeDomain at a resource version."""
    found = obj(DOMAIN, OURS, **more)
    return {**found, "metadata": {**found["metadata"], "resourceVersion": str(version)}}


def test_what_was_made_and_is_gone_before_the_watch_shows_it_is_missed() -> None:
    """A watch that stalls for seconds shows neither: who made it would wait for it for ever."""
    known = caches()
    known.look(KEY, DOMAIN, TEMPLATE)
    domains = known.written
    domains.progress(None, "10")
    assert domains.anticipate(at(11)) == {KEY}
    assert known.look(KEY, DOMAIN, TEMPLATE).domain is not None
    domains.progress(None, "20")
    assert domains.keep_only(None, set()) == {KEY}
    assert known.look(KEY, DOMAIN, TEMPLATE).domain is None


def test_an_answer_that_comes_late_brings_nothing_back() -> None:
    known = caches()
    domains = known.written
    domains.progress(None, "10")
    domains.anticipate(at(12, spec={"numNodes": 2}))
    assert domains.put(at(11)) == set(), "what the watch shows of before"
    assert domains.remove(("ns", DOMAIN)) == set(), "the one before it"
    found = known.look(KEY, DOMAIN, TEMPLATE).domain
    assert found is not None
    assert found["spec"] == {"numNodes": 2}
    domains.progress(None, "13")
    assert domains.remove(("ns", DOMAIN)) == {KEY}
    assert domains.anticipate(at(12)) == set()


def test_a_kind_that_is_served_anew_is_listed_before_answers_count() -> None:
    known = caches()
    domains = known.written
    domains.progress(None, "10")
    domains.refuse()
    assert domains.anticipate(at(11)) == set()


def test_looking_elsewhere_ends_the_first_look() -> None:
    known = caches()
    known.look(KEY, "mine", "mine-claims")
    known.look(KEY, DOMAIN, TEMPLATE)
    domains, templates = known.caches
    assert domains.put(obj("mine")) == templates.put(obj("mine-claims")) == set()
    assert domains.put(obj(DOMAIN)) == templates.put(obj(TEMPLATE)) == {KEY}


def test_a_template_of_another_domain_names_it() -> None:
    known = caches()
    domains, templates = known.caches
    domains.put(obj("theirs"))
    domains.put(obj(DOMAIN, OURS))
    templates.put(obj(TEMPLATE, {UID_LABEL: "uid-of-theirs"}))
    assert known.look(KEY, DOMAIN, TEMPLATE).rival == "theirs"
    templates.put(obj(TEMPLATE, {UID_LABEL: f"uid-of-{DOMAIN}"}))
    assert known.look(KEY, DOMAIN, TEMPLATE).rival == ""


def test_only_our_own_domain_is_a_child() -> None:
    known = caches()
    domains, _ = known.caches
    domains.put(obj(DOMAIN))
    assert list(known.of(KEY)) == []
    domains.put(obj(DOMAIN, OURS))
    (child,) = known.of(KEY)
    assert (child["apiVersion"], child["kind"]) == ("resource.nvidia.com/v1beta1", "ComputeDomain")
    assert "managedFields" not in child["metadata"]


def test_without_rights_nothing_is_read() -> None:
    known = caches(readable=False)
    assert known.caches == ()
    assert not known.look(KEY, DOMAIN, TEMPLATE).readable


def test_the_schema_says_whether_the_number_of_nodes_is_required() -> None:
    def required(known: ComputeDomains) -> bool:
        return asyncio.run(known.num_nodes_required())

    assert required(caches({"required": ["channel", "numNodes"]}))
    assert not required(caches({"required": ["channel"]}))
    assert not required(caches({}))
    assert not required(caches(None)), "an API server without OpenAPI v3"
    assert not required(caches({"required": ["numNodes"]}, listed=False)), "not served"
