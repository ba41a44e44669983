"""Which version of an object the cache shows: a list's, a watch's, or the answer to a write of ours."""

from typing import Any

from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import CONFIG_MAP, DISAGG_DEPLOYMENT, Key, Object
from disagg_operator.runtime.store import Store, Stores, itself

DEMO = Key("ns", "demo")


def config_map(version: int, name: str = "one", **more: Any) -> Object:
    labels = {names.LABEL_DEPLOYMENT: "demo"}
    metadata = {"name": name, "namespace": "ns", "labels": labels, "resourceVersion": str(version)}
    return {"metadata": metadata, "data": {"version": str(version)}, **more}


def synced(version: int = 10) -> Store:
    store = Store(CONFIG_MAP)
    store.progress(None, str(version))
    return store


def shown(store: Store) -> list[str]:
    return sorted(obj["data"]["version"] for obj in store.of(DEMO))


def test_the_answer_to_a_write_is_there_before_the_watch_shows_it() -> None:
    store = synced()
    assert store.anticipate(config_map(11)) == (DEMO,)
    assert shown(store) == ["11"]


def test_the_echo_of_a_write_wakes_nobody() -> None:
    store = synced()
    store.anticipate(config_map(11))
    store.progress(None, "11")
    assert store.put(config_map(11)) == ()
    assert shown(store) == ["11"]


def test_an_older_version_replaces_no_newer_one() -> None:
    store = synced()
    store.anticipate(config_map(14))
    store.progress(None, "12")
    assert store.put(config_map(12)) == ()
    assert shown(store) == ["14"]
    store.progress(None, "15")
    assert store.put(config_map(15)) == (DEMO,)
    assert shown(store) == ["15"]


def test_an_answer_that_comes_after_the_object_was_deleted_brings_it_not_back() -> None:
    store = synced()
    store.progress(None, "11")
    store.put(config_map(11))
    store.progress(None, "12")
    assert store.remove(("ns", "one")) == (DEMO,)
    assert store.anticipate(config_map(11)) == ()
    assert shown(store) == []


def test_the_deletion_of_a_namesake_before_leaves_what_was_made_since() -> None:
    store = synced()
    store.put(config_map(9))
    store.anticipate(config_map(13))
    store.progress(None, "12")
    assert store.remove(("ns", "one")) == ()
    assert shown(store) == ["13"]
    assert store.lost(DEMO) == set()


def test_a_list_that_is_older_than_a_write_takes_nothing_away() -> None:
    store = synced()
    store.anticipate(config_map(13))
    store.anticipate(config_map(11, name="two"))
    store.progress(None, "12")
    store.keep_only(None, set())
    assert shown(store) == ["13"]


def test_nothing_is_anticipated_before_the_first_list() -> None:
    store = Store(CONFIG_MAP)
    assert store.anticipate(config_map(11)) == ()
    assert shown(store) == []


def test_each_namespace_comes_as_far_as_its_own_watch() -> None:
    store = Store(CONFIG_MAP)
    store.progress("other", "20")
    store.progress("ns", "10")
    assert store.anticipate(config_map(15)) == (DEMO,)
    store.progress("ns", "16")
    assert store.anticipate(config_map(15, name="two")) == ()


def test_an_api_server_that_was_set_back_is_believed() -> None:
    store = synced(100)
    store.put(config_map(90))
    store.progress(None, "50")
    assert store.put(config_map(40)) == (DEMO,)
    assert shown(store) == ["40"]


def test_a_deployment_is_kept_with_when_its_status_was_written() -> None:
    store = Store(DISAGG_DEPLOYMENT, owner=itself)
    written = {"manager": "disagg-operator", "subresource": "status", "time": "2026-01-01T00:00:00Z"}
    metadata = {
        "name": "demo",
        "namespace": "ns",
        "managedFields": [{**written, "fieldsV1": {"f:status": {}}}],
    }
    assert store.put({"metadata": metadata, "spec": {}}) == (DEMO,)
    (found,) = store.of(DEMO)
    assert found["metadata"]["managedFields"] == [written]
    assert (found["apiVersion"], found["kind"]) == (DISAGG_DEPLOYMENT.api_version, "DisaggDeployment")
    assert store.remove(("ns", "demo")) == (DEMO,)
    assert store.lost(DEMO) == set()


def test_the_objects_of_a_deployment_are_counted_over_all_caches() -> None:
    one, other = synced(20), synced(20)
    one.put(config_map(11))
    one.put(config_map(12, "two"))
    other.put(config_map(13, "three"))
    view = Stores((one, other))
    assert view.count(DEMO) == 3
    other.remove(("ns", "three"))
    assert view.count(DEMO) == 2
    assert view.count(Key("ns", "another")) == 0


def test_a_large_object_comes_back_as_it_was() -> None:
    store, script = synced(), "".join(f"print({number})\n" for number in range(3000))
    large = config_map(11) | {"data": {"version": "11", "script": script}}
    store.put(large)
    assert [obj["data"] for obj in store.of(DEMO)] == [large["data"]]
    assert sum(map(len, store._objects.values())) < len(script) / 2
