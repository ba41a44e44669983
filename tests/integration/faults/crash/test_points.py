"""The crash points themselves: which there are, and that what is wrong after a crash is seen."""

from collections import Counter
from typing import Any

from integration.faults.crash.campaign import Expected, differences, rounds
from integration.faults.crash.points import Labelled, Point, labelled, neutral, points_of, sample
from integration.faults.requests import parse


def test_a_write_has_two_points_and_a_read_one() -> None:
    read, write = Labelled("dd0001", "get a", write=False), Labelled("dd0001", "apply b", write=True)
    points = points_of([[read, write], [read, write, write]])
    assert [str(point) for point in points] == [
        "at get a #1",
        "before apply b #1",
        "after apply b #1",
        "before apply b #2",
        "after apply b #2",
    ]


def test_a_sample_keeps_the_order_and_does_not_depend_on_it() -> None:
    points = [Point(f"apply {name}", 1, "after") for name in "fbadce"]
    some = sample(points, 3, 7)
    assert len(some) == 3
    assert some == [point for point in points if point in some]
    assert set(sample(points[::-1], 3, 7)) == set(some)
    assert sample(points, 9, 7) == points


def test_calls_have_the_same_label_for_all_deployments() -> None:
    def label(name: str, resource: str = "statefulsets") -> str:
        call = parse("DELETE", f"/apis/apps/v1/namespaces/n/{resource}/{name}", {}, content="")
        found = labelled(call)
        return "" if found is None else found.label

    assert (
        label("dd0001-decode-1a2b3c4d")
        == label("dd0002-decode-9a8b7c6d")
        == ("delete statefulsets/NAME-decode-DIGEST")
    )
    assert label("dd0001-decode-1a2b3c4d-0") != label("dd0001-decode-1a2b3c4d-1")
    assert label("dd0001-frontend-6f7d8c9b5-x2x9z", "pods") == "delete pods/NAME-frontend-POD"
    assert label("operator-0", "leases") == ""


def test_an_event_is_called_by_its_reason() -> None:
    body = b'{"metadata": {"name": "dd0001.0011"}, "reason": "Available"}'
    call = parse("POST", "/apis/events.k8s.io/v1/namespaces/n/events", {}, content="", body=body)
    assert labelled(call) == Labelled("dd0001", "create events/Available", write=True)


def test_texts_lose_what_differs_between_runs_and_nothing_else() -> None:
    text = "dd0001 at 2026-01-01T00:00:00Z of 0a1b2c3d-1111-2222-3333-444455556666: 2 of 3, deadbeef1"
    assert neutral(text, "dd0001") == "NAME at TIME of UID: 2 of 3, DIGEST"


def test_a_digest_may_have_no_figure_at_all() -> None:
    assert neutral("dd0001-worker-acdedddb", "dd0001") == "NAME-worker-DIGEST"


def test_a_round_has_one_point_of_an_event_at_most() -> None:
    points = [Point(f"create events/{number}", 1, "before") for number in range(2)]
    points += [Point(f"apply {number}", 1, "before") for number in range(5)]
    found = list(rounds(points, 3))
    assert sorted(point for each in found for point in each) == sorted(points)
    assert [len(each) for each in found] == [3, 3, 1]
    assert all(sum(point.is_event for point in each) <= 1 for each in found)


def test_what_must_hold_is_seen_not_to_hold() -> None:
    expected = Expected(
        snapshots={("services/a 1", "services/b 1")},
        pods=Counter({"a": 1}),
        sets=Counter({"s": 1}),
        events=Counter({"Available": 1}),
    )
    right: dict[str, Any] = {
        "found": ("services/a 1", "services/b 1"),
        "pods": Counter({"a": 1}),
        "sets": Counter({"s": 1}),
        "told": Counter[str](),
        "lost": (),
    }
    assert not differences(expected, **right)
    wrong: dict[str, Any] = {
        "found": ("services/a 1",),
        "pods": Counter({"a": 2}),
        "sets": Counter({"s": 1, "t": 1}),
        "told": Counter({"Available": 2}),
        "lost": ("RolesNotReady",),
    }
    for key, value in wrong.items():
        assert len(differences(expected, **{**right, key: value})) == 1, key
