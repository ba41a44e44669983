"""The pure parts of the operator's benchmark: percentiles, requests of the audit log, targets and tables."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.operator import audit
from bench.operator.client import path_of, plural_of
from bench.operator.figures import FLOOR, OURS, SIDES, Figures
from bench.operator.picture import bars
from bench.operator.report import (
    BEGIN,
    END,
    groups,
    inserted,
    markdown,
    measured,
    number,
    plain,
    remarks,
    rows,
    section,
)
from bench.operator.scenarios import PARTS, chosen
from bench.operator.shapes import Shape, children, workloads
from bench.operator.stats import percentile
from bench.operator.targets import FULL, SHORT, Reached, Target, targets
from bench.operator.watching import Milestone, condition

USER = "disagg-operator"
SPEED = Target("created", "s", 1.5, relative=True)
MEMORY = Target("memory", "MB", 80)


def entry(
    verb: str, resource: str, *, subresource: str = "", user: str = USER, stage: str = "ResponseComplete"
) -> dict[str, Any]:
    about = {"resource": resource, **({"subresource": subresource} if subresource else {})}
    return {"stage": stage, "verb": verb, "user": {"username": user}, "objectRef": about}


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(each) for each in range(100, 0, -1)]
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7.0], 0.99) == 7


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="0 values"):
        percentile([], 0.5)


def test_requests_are_sorted_by_what_they_do_to_the_api_server() -> None:
    entries = [
        entry("watch", "pods", stage="ResponseStarted"),
        entry("watch", "pods"),
        entry("patch", "statefulsets"),
        entry("patch", "disaggdeployments", subresource="status"),
        entry("patch", "statefulsets", user="another"),
        entry("patch", "services", stage="Panic"),
        entry("get", "pods"),
        entry("get", "pods", subresource="log"),
        entry("update", "leases"),
    ]
    found = audit.traffic(entries, USER, audit.watched_by(entries, USER))
    assert found.writes == {"patch statefulsets": 1, "patch disaggdeployments/status": 1}
    assert found.cached == {"get pods": 1}
    assert found.others == {"get pods/log": 1}
    assert found.reads.total() == 2
    assert found.watches == {"watch pods": 1}
    assert found.leases == {"update leases": 1}


def test_requests_about_no_object_are_told_by_their_path() -> None:
    asked = {
        "stage": "ResponseComplete",
        "verb": "get",
        "user": {"username": USER},
        "requestURI": "/openapi/v3/apis/apps/v1?hash=1",
    }
    assert audit.traffic([asked], USER, frozenset()).others == {"get /openapi/v3/apis/apps/v1": 1}


def test_counts_are_told_for_each_deployment_and_most_first() -> None:
    assert audit.listed({"patch pods": 50, "create events": 100}, 100) == "1 create events, 0.5 patch pods"
    assert audit.listed({}, 100) == "none"


def test_half_a_line_of_the_log_is_left_for_later(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    line = json.dumps(entry("get", "pods")) + "\n"
    log.write_text(line * 2 + line[:10], encoding="utf-8")
    assert len(audit.read(log, 0)) == 2
    assert len(audit.read(log, len(line))) == 1
    assert len(audit.read(log, 0, len(line))) == 1


def test_a_target_relative_to_the_floor_needs_one() -> None:
    figures = Figures()
    figures.put("created", OURS, 3.0)
    assert SPEED.reached(figures) is Reached.UNKNOWN
    figures.put("created", FLOOR, 2.0)
    assert SPEED.ratio(figures) == 1.5
    assert SPEED.reached(figures) is Reached.YES
    figures.put("created", OURS, 3.1)
    assert SPEED.reached(figures) is Reached.NO


def test_a_target_by_itself_needs_no_floor() -> None:
    figures = Figures()
    assert MEMORY.reached(figures) is Reached.UNKNOWN
    figures.put("memory", OURS, 80.0)
    assert MEMORY.reached(figures) is Reached.YES
    assert Target("pods", "").reached(figures) is Reached.NONE


def test_the_table_tells_what_was_not_measured() -> None:
    figures = Figures()
    figures.put("created", OURS, 3.0)
    figures.put("created", FLOOR, 1.0, "a remark")
    figures.failures["idle"] = "no operator"
    table = rows(figures, [SPEED, MEMORY, Target("further", "s")])
    assert table == [
        ["", "floor", "ours", "ours / floor", "must be", "is it"],
        ["created", "1 s", "3 s", "3.00", "≤ 1.5 × floor", "**no**"],  # noqa: RUF001
        ["memory", "", "", "", "≤ 80 MB", "not measured"],
    ]
    assert measured(figures, [SPEED, MEMORY]) == [SPEED]
    assert remarks(figures) == ["created, floor: a remark", "NOT MEASURED, idle: no operator"]
    assert markdown(table).splitlines()[1] == "| --- | ---: | ---: | ---: | ---: | ---: |"
    assert "no" in plain(table)
    assert "*" not in plain(table)


def test_numbers_have_the_digits_that_count() -> None:
    assert [number(each, "s") for each in (None, 0, 0.123, 12.34, 1234.5, 7.0)] == [
        "",
        "0 s",
        "0.12 s",
        "12.3 s",
        "1,234 s",
        "7 s",
    ]


def test_a_document_keeps_what_is_outside_the_markers() -> None:
    document = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert inserted(document, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    with pytest.raises(ValueError, match="lacks the lines"):
        inserted("no markers", "new")


def test_each_figure_has_a_name_of_its_own_and_one_bound() -> None:
    for shapes, check in ((FULL, False), (SHORT, True)):
        names = [target.name for target in targets(shapes, check=check)]
        assert len(names) == len(set(names))
    (full,) = [each.most for each in targets(FULL) if each.name == "memory, idle"]
    (short,) = [each.most for each in targets(SHORT, check=True) if each.name == "memory, idle"]
    assert full is not None
    assert short is not None
    assert full < short


def test_a_shape_counts_its_pods_with_their_frontends() -> None:
    assert Shape(100, 1, 1).pods == 300
    assert Shape(1, 25, 100, nodes=8).workers == 1000
    assert len(set(Shape(3, 1, 1).names())) == 3


def pod(name: str, ready: str, **more: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, **more}]
    return {"metadata": {"name": name, "generation": 2}, "status": {"conditions": conditions}}


def test_a_milestone_is_reached_once_and_keeps_its_moment() -> None:
    milestone = Milestone("pods", 2, condition("Ready"))
    milestone.see("ADDED", pod("a", "True"), 1.0)
    milestone.see("MODIFIED", pod("a", "True"), 2.0)
    milestone.see("ADDED", pod("b", "False"), 3.0)
    assert (milestone.at, milestone.so_far) == (None, 1)
    milestone.see("DELETED", pod("a", "True"), 4.0)
    milestone.see("MODIFIED", pod("b", "True"), 5.0)
    assert (milestone.at, milestone.so_far) == (None, 1)
    milestone.see("ADDED", pod("c", "True"), 6.0)
    milestone.see("MODIFIED", pod("c", "False"), 7.0)
    assert milestone.at == 6.0


def test_a_condition_of_an_older_generation_does_not_hold() -> None:
    holds = condition("Ready")
    assert holds(pod("a", "True", observedGeneration=2))
    assert not holds(pod("a", "True", observedGeneration=1))


def test_the_picture_has_a_bar_for_each_side_of_each_shape() -> None:
    figures = Figures()
    for side, value in ((FLOOR, 2.0), (OURS, 3.0)):
        figures.put("2 x (1 + 1): created", side, value)
        figures.put("3 x (1 + 1): created", side, value)
        figures.put("other", side, value)
    values = groups(figures, "created")
    assert list(values) == ["2 x (1 + 1)", "3 x (1 + 1)"]
    drawn = ElementTree.fromstring(bars("title", "s", values, SIDES))  # noqa: S314 - our own
    words = [found.text for found in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("2.0 s") == words.count("3.0 s (1.50 ×)") == 2  # noqa: RUF001
    assert {"title", *values, FLOOR, OURS} <= set(words)


def test_a_run_is_told_with_what_it_holds_for() -> None:
    figures = Figures()
    figures.put("created", FLOOR, 2.0)
    told = section(figures, [SPEED], {"date": "2026-01-01", "machine": "2 cores"}, ["images/a.svg"])
    assert told.startswith("date 2026-01-01; machine 2 cores.")
    assert "![a](images/a.svg)" in told
    assert "not measured" in told


def test_parts_are_run_in_their_order_and_scenarios_without_one_are_not() -> None:
    found = chosen(["idle", "edit", "create", "rollout"])
    assert [sorted(parts) for _, parts in found] == [["create", "rollout"], ["edit"], ["idle"]]
    assert len(PARTS) == len(set(PARTS))


def test_everything_that_a_deployment_consists_of_has_a_place_on_the_api_server() -> None:
    made = [*children(Shape(1, 2, 3), "demo"), *children(Shape(1, 2, 3, nodes=4), "demo")]
    paths = {path_of(plural_of(obj), "ns") for obj in made}
    assert {"/api/v1/namespaces/ns/services", "/apis/apps/v1/namespaces/ns/statefulsets"} <= paths
    with pytest.raises(StopIteration):
        plural_of({"apiVersion": "v1", "kind": "Nonsense"})


def test_the_floor_has_the_pods_of_a_deployment_and_nothing_else() -> None:
    shape = Shape(1, 2, 3)
    made = workloads(shape, "demo")
    assert sorted(obj["kind"] for obj in made) == ["Deployment", "StatefulSet", "StatefulSet"]
    assert sum(obj["spec"]["replicas"] for obj in made) == shape.pods
    assert all("serviceAccountName" not in obj["spec"]["template"]["spec"] for obj in made)
    groups_shape = Shape(1, 2, 3, nodes=4)
    made = workloads(groups_shape, "demo")
    assert sum(obj["spec"]["replicas"] for obj in made) == groups_shape.pods
