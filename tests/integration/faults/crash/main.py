"""Kills the operator at all points of all scenarios, and tells what became of each. TEST TOOL.

Invariant: what is in the results file already is not done again, unless it failed.
"""

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from chart.helm import IMAGES, Helm, settings
from integration.faults.crash.campaign import Crew, Result, crash_everywhere, crew_of
from integration.faults.crash.points import Point, sample
from integration.faults.crash.scenarios import BY_NAME, SCENARIOS
from integration.operator.control_plane import Api
from testcluster.console import Progress
from testcluster.fixtures import ApiServer, private_apiserver
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY, default_paths
from testcluster.platforms.computedomains import ComputeDomainDriver
from testcluster.processes import Supervisor
from testcluster.toolchain import ensure_platform_parts

CALM_RUNS = 3


def main() -> int:
    """Run; return 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument(
        "--results", type=Path, default=Path("crash-points.jsonl"), help="one JSON object a point"
    )
    parser.add_argument(
        "--scenario", action="append", choices=sorted(BY_NAME), help="only this one; repeatable"
    )
    parser.add_argument("--writes", action="store_true", help="leave out the points at reads")
    parser.add_argument("--size", type=int, default=16, help="deployments at a time")
    parser.add_argument("--tries", type=int, default=3, help="how often a point is tried that is not come to")
    parser.add_argument("--sample", type=int, help="only so many points of each scenario, drawn by a seed")
    parser.add_argument("--seed", type=int, default=1, help="of the sample")
    arguments = parser.parse_args()
    # What was started ends on the way out.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    names = arguments.scenario or [scenario.name for scenario in SCENARIOS]
    with tempfile.TemporaryDirectory() as folder, _control_plane(Path(folder)) as apiserver:
        api = Api(apiserver.kubeconfig)
        with crew_of(api, apiserver.kubeconfig, Path(folder)) as crew:
            for name in names:
                _run(crew, name, arguments)
        api.close()
    return _report(arguments.results)


def _leave(number: int, _: FrameType | None) -> None:
    print(f"{signal.Signals(number).name}: what is done is kept", file=sys.stderr)
    sys.exit(128 + number)


def _run(crew: Crew, name: str, arguments: argparse.Namespace) -> None:
    scenario, began, results = BY_NAME[name], time.monotonic(), arguments.results
    expected = crew.undisturbed(scenario, CALM_RUNS)
    done = {point for point, outcome in _known(results, name).items() if outcome != "failed"}
    wanted = [point for point in expected.points if point.is_write or not arguments.writes]
    if arguments.sample is not None:
        wanted = sample(wanted, arguments.sample, arguments.seed)
    points = [point for point in wanted if point not in done]
    print(f"{name}: {len(points)} of {len(expected.points)} points to do", flush=True)
    size, tries = arguments.size, arguments.tries
    for result in crash_everywhere(crew, scenario, expected, points, size=size, tries=tries):
        with results.open("a") as file:
            file.write(json.dumps(_record(result)) + "\n")
        if result.outcome != "converged":
            print(f"  {result.outcome} {result.point}", *result.faults, sep="\n    ", flush=True)
    print(f"{name}: done after {time.monotonic() - began:.0f} s", flush=True)


def _record(result: Result) -> dict[str, object]:
    point = result.point
    return {
        "scenario": result.scenario,
        "label": point.label,
        "occurrence": point.occurrence,
        "when": point.when,
        "outcome": result.outcome,
        "faults": result.faults,
    }


def _known(results: Path, scenario: str) -> dict[Point, str]:
    """Return the last outcome of each point."""
    if not results.exists():
        return {}
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    return {
        Point(line["label"], line["occurrence"], line["when"]): line["outcome"]
        for line in lines
        if line["scenario"] == scenario
    }


def _report(results: Path) -> int:
    failed = 0
    print(f"{'scenario':<20} points converged failed unreached")
    for scenario in SCENARIOS:
        count = Counter(_known(results, scenario.name).values())
        failed += count["failed"]
        cells = (count.total(), count["converged"], count["failed"], count["unreached"])
        print(f"{scenario.name:<20} {cells[0]:>6} {cells[1]:>9} {cells[2]:>6} {cells[3]:>9}")
    return 1 if failed else 0


@contextmanager
def _control_plane(folder: Path) -> Iterator[ApiServer]:
    parts = ensure_platform_parts(default_paths(), Progress())
    with private_apiserver(folder / "plane") as apiserver:
        kubectl = Kubectl(apiserver.tools.path("kubectl"), apiserver.kubeconfig)
        helm = apiserver.tools.path("helm")
        kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        dynamo = "templates/crds/nvidia.com_dynamoworkermetadatas.yaml"
        kubectl.apply(Helm(Path(helm)).render(*settings(**IMAGES), "--show-only", dynamo))
        kubectl.await_served("crd/disaggdeployments.disagg.dev", "crd/disaggscalers.disagg.dev")
        supervisor = Supervisor(folder / "pids", folder / "logs", bound=True)
        driver = ComputeDomainDriver(kubectl, helm, parts, supervisor, folder / "driver")
        try:
            driver.install()
            yield apiserver
        finally:
            for name in supervisor.names():
                supervisor.stop(name)


if __name__ == "__main__":
    sys.exit(main())
