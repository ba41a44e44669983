"""Each file in ``wrong/`` gets the verdict that its header expects, from the real API server and from us.

Header of a file: ``refused by`` (the API server, accept or plan), ``field`` and ``fault`` of the problem that
we report, and for the API server a fragment of its ``message``.
"""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from testcluster.fixtures import ApiServer

WRONG = sorted((Path(__file__).parent / "wrong").glob("*.yaml"))

pytestmark = pytest.mark.apiserver


@dataclass(frozen=True)
class Case:
    """A wrong resource and the verdict that is expected."""

    file: Path
    refused_by: str
    field: str
    fault: str
    message: str

    @classmethod
    def read(cls, file: Path) -> "Case":
        lines = file.read_text(encoding="utf-8").splitlines()
        header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# "))
        return cls(file, header["refused by"], header["field"], header["fault"], header.get("message", ""))

    @property
    def resource(self) -> dict[str, Any]:
        loaded: dict[str, Any] = yaml.safe_load(self.file.read_text(encoding="utf-8"))
        return loaded

    def expect(self, problems: tuple[Problem, ...]) -> None:
        """Fail unless the expected problem is there and every problem can be acted on."""
        assert any(each.field == self.field and self.fault in each.fault for each in problems), problems
        assert all(each.field and each.fault and each.remedy and each.rule for each in problems), problems


def applied(apiserver: ApiServer, file: Path) -> subprocess.CompletedProcess[str]:
    """Apply a file as a user would, without keeping the object."""
    kubectl = [apiserver.tools.path("kubectl"), f"--kubeconfig={apiserver.kubeconfig}"]
    command = [*kubectl, "apply", "--dry-run=server", "-o", "json", "-f", str(file)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def refusal(resource: dict[str, Any]) -> tuple[Problem, ...]:
    with pytest.raises(Refusal) as refused:
        plan(accept(resource), Installation(worker_image="example/worker:1"))
    return refused.value.problems


def test_there_are_at_least_fifty() -> None:
    assert len(WRONG) >= 50
    assert {Case.read(file).refused_by for file in WRONG} == {"the API server", "accept", "plan"}


@pytest.mark.usefixtures("crd")
@pytest.mark.parametrize("file", WRONG, ids=lambda file: file.stem)
def test_verdict(apiserver: ApiServer, file: Path) -> None:
    case = Case.read(file)
    result = applied(apiserver, file)
    case.expect(refusal(case.resource))
    if case.refused_by == "the API server":
        assert result.returncode != 0, "the API server took it"
        assert case.message in result.stderr
        return
    assert result.returncode == 0, result.stderr
    stored = json.loads(result.stdout)
    case.expect(refusal(stored))
    if case.refused_by == "plan":
        accept(stored)
