"""Names: length limits and the promise that no two deployments share one."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.plan import names

LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
deployments = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z")
revisions = st.from_regex(r"\A[0-9a-f]{8}\Z")


def all_names(deployment: str, revision: str) -> list[str]:
    return [
        names.worker(deployment, "prefill", revision),
        names.worker(deployment, "decode", revision),
        names.workers(deployment, revision),
        names.group(deployment, "prefill", revision, 0),
        names.group(deployment, "prefill", revision, 999),
        names.group(deployment, "decode", revision, 12),
        names.all_pods(deployment, "prefill", revision),
        names.ssh_key(deployment, "decode", revision),
        names.frontend(deployment),
        names.service_account(deployment),
        names.role_binding(deployment, names.service_account(deployment), "Role/discovery"),
    ]


@given(deployments, revisions)
def test_names_are_labels_that_leave_room_for_what_kubernetes_appends(deployment: str, revision: str) -> None:
    for name in all_names(deployment, revision):
        assert LABEL.match(name)
        assert len(name) <= 52


@given(deployments, deployments, revisions, revisions)
def test_two_deployments_never_share_a_name(one: str, other: str, r1: str, r2: str) -> None:
    if one != other:
        assert not set(all_names(one, r1)) & set(all_names(other, r2))


@given(deployments, revisions)
def test_a_name_cannot_be_forged_from_the_parts_of_another(deployment: str, revision: str) -> None:
    for forged in all_names(deployment, revision):
        assert not set(all_names(forged, revision)) & set(all_names(deployment, revision))


@given(deployments, deployments)
def test_no_dynamo_namespace_is_the_beginning_of_another(one: str, other: str) -> None:
    if one != other:
        first, second = names.dynamo_namespace("ns", one), names.dynamo_namespace("ns", other)
        assert not first.startswith(second)
        assert not second.startswith(first)


@pytest.mark.parametrize(
    ("deployment", "expected"),
    [("smollm2", "smollm2"), ("a" * 22, "a" * 22), ("a" * 23, f"{'a' * 22}-{names.digest('a' * 23)}")],
)
def test_only_long_names_are_shortened(deployment: str, expected: str) -> None:
    assert names.base(deployment) == expected
