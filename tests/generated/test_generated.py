"""Thousands of generated resources: each is planned or refused by its field, and all four judges agree.

``make test-generated SEED=1 COUNT=10000`` tries as many as that; docs/hostile-input.md has what was found.
"""

import copy
import json
import os
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.planner import plan
from generated.conftest import Run
from generated.judges import INSTALLATION, Judged, Namespace, Server, by_reconcile, drive, judge
from generated.objects import offer
from generated.resources import Made, Object, make
from generated.shrinking import shrunk
from integration.operator.control_plane import Api

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(0)]

OBJECTS_OF_ONE_IN = 4
"""Share of the accepted resources of which all objects are offered to the API server."""
EDITS_OF_ONE_IN = 5
GROWTH_MIB = 200
"""Most that a run may grow once it is warm: parsed documents of mebibytes come and go."""


def resident() -> int:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024**2


def trouble(resource: Any, server: Server) -> tuple[Judged | None, str]:
    """Have a resource judged; return the verdicts, and what is wrong with them or how a judge failed."""
    try:
        judged = judge(resource, server)
    except Exception as error:  # noqa: BLE001 - whatever a judge raises is what is looked for
        return None, f"{type(error).__name__}: {error}"[:500]
    return judged, judged.trouble


def sort_of(fault: str) -> str:
    """Return what a fault begins with, by which a smaller resource shows the same one."""
    return fault.split(":", maxsplit=1)[0]


def reproducer(made: Made, fault: str, server: Server) -> str:
    """Return the fault with a small resource that shows it."""
    same = sort_of(fault)
    small = shrunk(made.resource, lambda each: sort_of(trouble(each, server)[1]) == same)
    return f"{made.told}: {fault}\n{json.dumps(small)[:2000]}"


def test_every_resource_is_planned_or_refused_by_all_alike(run: Run, server: Server) -> None:
    faults: list[tuple[Made, str]] = []
    counts: Counter[str] = Counter()
    memory = []
    started, slowest = time.monotonic(), (0.0, "")
    for number in run.numbers:
        begun = time.monotonic()
        made = make(run.seed, number)
        judged, fault = trouble(made.resource, server)
        if fault:
            faults.append((made, fault))
            print(f"{made.told}: {fault}", flush=True)
        if judged is not None:
            counts[f"{made.sort}, {'planned' if judged.server.accepted else 'refused'}"] += 1
        slowest = max(slowest, (time.monotonic() - begun, made.told))
        if (number - run.first) % max(run.count // 10, 1) == 0:
            memory.append(resident())
            print(f"{number} judged, {len(faults)} at fault, {memory[-1]} MiB", flush=True)
    memory.append(resident())
    seconds = time.monotonic() - started
    print(
        f"\nSEED={run.seed} FIRST={run.first} COUNT={run.count}: {seconds:.0f} s, "
        f"slowest {slowest[0]:.1f} s ({slowest[1]}), RSS in MiB {memory}"
    )
    print("\n".join(f"{count:6} {what}" for what, count in sorted(counts.items())))
    print(f"{len(faults):6} disagreements, tracebacks, refusals without a field")
    assert not faults, "\n".join(reproducer(*each, server) for each in faults[:5])
    warm = len(memory) // 3
    assert memory[-1] - memory[warm] < GROWTH_MIB, memory
    assert any("planned" in what for what in counts)
    assert any("refused" in what for what in counts)


def accepted(run: Run, server: Server, share: int) -> list[tuple[Made, Object]]:
    """Return one in ``share`` of the resources, where it is planned, as the API server would store it."""
    found = []
    for number in run.numbers[::share]:
        made = make(run.seed, number)
        answered, stored = server.create(made.resource)
        if answered.accepted and stored is not None and by_reconcile(stored)[0].accepted:
            found.append((made, stored))
    return found


def test_the_objects_of_what_is_accepted_are_accepted(run: Run, server: Server, api: Api) -> None:
    refused, counts = [], Counter[str]()
    for made, stored in accepted(run, server, OBJECTS_OF_ONE_IN):
        planned = plan(accept(stored), INSTALLATION)
        for kind, fault in offer(planned, api):
            counts[kind] += 1
            if fault:
                refused.append(f"{made.told}: {fault}\n{json.dumps(made.resource['spec'])[:1500]}")
    print(f"\noffered: {dict(sorted(counts.items()))}, refused: {len(refused)}")
    assert counts["StatefulSet"]
    assert not refused, "\n".join(refused[:5])


def test_a_wrong_edit_changes_nothing_that_runs(run: Run, server: Server) -> None:
    edits = 0
    for made, stored in accepted(run, server, EDITS_OF_ONE_IN):
        _, cluster = by_reconcile(stored)
        cluster.settle()
        drive(cluster)
        before = copy.deepcopy(cluster.objects)
        edits += sum(edit(cluster, other, before) for other in others(run, made))
    print(f"\nwrong edits: {edits}")
    assert edits


def others(run: Run, made: Made) -> list[Any]:
    """Return other specifications of the run, for edits of a resource."""
    dice = Random(made.told)  # noqa: S311 - to be made again
    numbers = (dice.choice(run.numbers) for _ in range(4))
    return [make(run.seed, number).resource.get("spec") for number in numbers]


def specified(objects: dict[Any, Object]) -> dict[Any, Object]:
    """Return objects without their status, which may tell of the edit."""
    return {at: {key: part for key, part in each.items() if key != "status"} for at, each in objects.items()}


def edit(cluster: Namespace, spec: Any, before: dict[Any, Any]) -> bool:
    """Give a deployment another specification; tell whether it was refused, which must change nothing."""
    assert cluster.resource is not None
    kept = copy.deepcopy(cluster.resource)
    cluster.resource["spec"] = copy.deepcopy(spec)
    cluster.resource["metadata"]["generation"] += 1
    drive(cluster)
    refused: bool = cluster.condition("Accepted")["status"] == "False"
    if refused:
        assert specified(cluster.objects) == specified(before), spec
    else:
        cluster.objects = copy.deepcopy(before)
    cluster.resource = kept
    return refused
