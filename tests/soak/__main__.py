"""`make soak`: the soak as long as asked for, with a report. Exits with 1 where something leaks."""

import os
import sys
import tempfile
from pathlib import Path

from soak.report import summary, write
from soak.soak import Plan, prepared


def main() -> None:
    """Run it by the environment: MINUTES, SEED, DEPLOYMENTS, RATE, and OUT, the folder of the report."""
    given = os.environ.get
    plan = Plan(
        minutes=float(given("MINUTES", "20")),
        seed=int(given("SEED", "1")),
        deployments=int(given("DEPLOYMENTS", "80")),
        rate=float(given("RATE", "2")),
    )
    folder = Path(given("OUT") or tempfile.mkdtemp(prefix="disagg-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="disagg-soak-") as work,
        prepared(plan, Path(work), lambda text: print(text, flush=True)) as soak,
    ):
        soak.operator.log = folder / "operator.log"
        result = soak.run()
    print(summary(result))
    write(result, folder)
    print(f"\nReport: {folder}")
    sys.exit(1 if result.faults else 0)


if __name__ == "__main__":
    main()
