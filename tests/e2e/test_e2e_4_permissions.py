"""Looks back at the whole run: the operator used every permission that it has, and tried nothing else."""

import pytest

from chart.helm import RELEASE
from e2e.audit import FORBIDDEN, granted, used
from e2e.installation import SYSTEM, Installed

pytestmark = pytest.mark.cluster
OPERATOR = f"system:serviceaccount:{SYSTEM}:{RELEASE}"


def test_every_permission_is_used_and_none_is_missing(installed: Installed) -> None:
    if installed.audit is None:
        pytest.skip("this cluster keeps its audit log to itself; the embedded one and kind show theirs")
    made = list(installed.audit.requests(OPERATOR))
    roles = [
        installed.kubectl.get("clusterrole", RELEASE, SYSTEM),
        installed.kubectl.get("role", f"{RELEASE}-lease", SYSTEM),
    ]
    refused = [request.told for request in made if request.code == FORBIDDEN]
    assert not refused, "refused and needed"
    unused = sorted(granted(roles) - used(made))
    assert not unused, f"granted and never used: {unused}"
