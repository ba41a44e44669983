"""The committed CRD on a real API server: served, explained, listed, filled in, and kind to old objects."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.crd.__main__ import stale
from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY

CRD = "customresourcedefinitions.apiextensions.k8s.io/disaggdeployments.disagg.dev"
EXAMPLES = sorted((REPOSITORY / "examples").glob("*/*.yaml"))
STORED = sorted((Path(__file__).parent / "stored").glob("*.yaml"))
LARGEST = 96_000
"""Bytes. Every client of the API server loads it, and `kubectl explain` is read by people. The result of a
verification took 4 kB, rollouts and scaling are to take no more than 8: the status is where they are kept."""
NAMESPACE = "api-tests"
LISTED = ("dd", "listed", "-n", NAMESPACE)
APART = ("dd", "apart", "-n", NAMESPACE)

pytestmark = [pytest.mark.apiserver, pytest.mark.usefixtures("crd", "namespaces")]

MINIMAL: dict[str, Any] = {
    "apiVersion": "disagg.dev/v1alpha1",
    "kind": "DisaggDeployment",
    "metadata": {"name": "minimal", "namespace": NAMESPACE},
    "spec": {"model": {"name": "small", "source": {"runtimeImage": {"path": "/models/small"}}}},
}


def create(kubectl: Kubectl, resource: dict[str, Any], *options: str) -> Any:
    text = kubectl.text("apply", "-o", "json", *options, "-f", "-", stdin=yaml.safe_dump(resource))
    return yaml.safe_load(text)


def explained(kubectl: Kubectl, *arguments: str) -> str:
    """Return what ``kubectl explain`` says, once the API server has published the schema."""
    for _ in range(90):
        try:
            return kubectl.text("explain", *arguments)
        except ClusterError:
            time.sleep(1)
    return kubectl.text("explain", *arguments)


def test_it_is_established_without_complaints(kubectl: Kubectl) -> None:
    conditions = {each["type"]: each["status"] for each in kubectl.json("get", CRD)["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert conditions["NamesAccepted"] == "True"
    assert "NonStructuralSchema" not in conditions


def test_it_is_small_and_fresh() -> None:
    assert stale(REPOSITORY) == []
    assert all(file.stat().st_size < LARGEST for file in (REPOSITORY / "crds").glob("*.yaml"))


def test_explain_is_a_manual(kubectl: Kubectl) -> None:
    fields = explained(kubectl, "dd.spec", "--recursive")
    for field in ("model", "prefill", "nixlBackend", "tokenSecretRef", "maxTokensInBuffer", "numNodes"):
        assert re.search(rf"^\s+{field}\s+<", fields, re.MULTILINE), field
    assert "Seconds that one transfer may take" in explained(kubectl, "dd.spec.transfer.timeoutSeconds")
    assert "From 1 to 3600. Default: 60." in " ".join(explained(kubectl, "dd.spec.transfer").split())


def test_explain_tells_of_scalers_what_is_asked_and_what_is_in_force(kubectl: Kubectl) -> None:
    assert "From 0 to 1000" in " ".join(explained(kubectl, "dsc.spec.replicas").split())
    status = explained(kubectl, "disaggscaler.status")
    for field in ("desiredReplicas", "readyReplicas", "selector", "bounds", "conditions"):
        assert re.search(rf"^\s+{field}\s+<", status, re.MULTILINE), field


@pytest.mark.parametrize("replicas", [-1, 1001, None, "two", 1.5])
def test_a_scaler_takes_no_count_that_cannot_be(kubectl: Kubectl, replicas: object) -> None:
    scaler = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggScaler",
        "metadata": {"name": "wrong", "namespace": NAMESPACE},
        "spec": {"replicas": replicas},
    }
    with pytest.raises(ClusterError, match=r"spec\.replicas"):
        create(kubectl, scaler, "--dry-run=server")


def test_every_example_applies(kubectl: Kubectl) -> None:
    for file in EXAMPLES:
        kubectl.text("apply", "--dry-run=server", "-f", str(file))


def test_defaults_are_stored(kubectl: Kubectl) -> None:
    spec = create(kubectl, MINIMAL, "--dry-run=server")["spec"]
    assert spec["platform"] == "generic"
    assert spec["runtime"] == {"engine": "trtllm", "frontend": "dynamo"}
    assert spec["transfer"] == {"timeoutSeconds": 60, "restartWedged": True}
    for role in ("prefill", "decode"):
        assert spec[role]["replicas"] == 1
        assert spec[role]["parallelism"] == {"tensor": 1, "pipeline": 1, "context": 1, "expert": 1}
    assert spec["frontend"] == {"port": 8000, "replicas": 1, "routerMode": "round-robin"}
    # What a release of the frontend decides is not stored, so that another release may decide otherwise.
    assert spec["rollout"] == {"paused": False, "progressDeadlineSeconds": 3600}
    assert spec["discovery"] == {}


def test_stored_defaults_are_the_models_defaults(kubectl: Kubectl) -> None:
    runtime = {"engine": "reference"}
    resource = {**MINIMAL, "spec": {**MINIMAL["spec"], "runtime": runtime}}
    stored = create(kubectl, resource, "--dry-run=server")
    assert accept(stored).spec == accept(resource).spec


def test_null_means_absent(kubectl: Kubectl) -> None:
    nulls = {"decode": None, "scaling": None, "runtime": {"engine": "reference", "image": None}}
    resource = {**MINIMAL, "spec": {**MINIMAL["spec"], **nulls}}
    stored = create(kubectl, resource, "--dry-run=server")
    assert "scaling" not in stored["spec"]
    assert accept(stored).spec == accept(resource).spec


def test_the_list_shows_what_was_observed(kubectl: Kubectl) -> None:
    create(kubectl, {**MINIMAL, "metadata": {"name": "listed", "namespace": NAMESPACE}})
    status = {
        "roles": {"prefill": {"ready": "4/4"}, "decode": {"ready": "1/2"}},
        "transport": {"configured": "NIXL/UCX", "summary": "NIXL/UCX tcp"},
        "conditions": [
            {
                "type": "Available",
                "status": "False",
                "reason": "RolesNotReady",
                "message": "Decode has 1 of 2 ready.",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
        ],
    }
    patch = yaml.safe_dump({"status": status})
    kubectl.text("patch", *LISTED, "--subresource=status", "--type=merge", "-p", patch)
    head, row = kubectl.text("get", *LISTED).splitlines()
    assert head.split() == ["NAME", "PLATFORM", "PREFILL", "DECODE", "TRANSPORT", "VERIFIED", "READY", "AGE"]
    assert row.split()[:7] == ["listed", "generic", "4/4", "1/2", "NIXL/UCX", "tcp", "False"]
    verified = row[head.index("VERIFIED") : head.index("READY")]
    assert verified.strip() == "", "what was not measured is not shown as a verdict"


def test_status_is_written_apart_and_gets_no_defaults(kubectl: Kubectl) -> None:
    named = {**MINIMAL, "metadata": {"name": "apart", "namespace": NAMESPACE}}
    created = create(kubectl, {**named, "status": {"address": "http://made-up"}})
    assert "status" not in created
    kubectl.text("patch", *APART, "--subresource=status", "--type=merge", "-p", '{"status":{"roles":{}}}')
    assert kubectl.json("get", *APART)["status"] == {"roles": {}}
    assert kubectl.json("get", *APART)["metadata"]["generation"] == 1


def test_compute_domain_nodes_cannot_change(kubectl: Kubectl) -> None:
    named = {**MINIMAL, "metadata": {"name": "domain", "namespace": NAMESPACE}}
    create(kubectl, {**named, "spec": {**MINIMAL["spec"], "computeDomain": {"numNodes": 2}}})
    with pytest.raises(ClusterError, match="cannot change, as a ComputeDomain cannot"):
        create(kubectl, {**named, "spec": {**MINIMAL["spec"], "computeDomain": {"numNodes": 3}}})


@pytest.mark.parametrize("file", STORED, ids=lambda file: file.stem)
def test_objects_stored_by_earlier_versions_still_validate(kubectl: Kubectl, file: Path) -> None:
    stored = yaml.safe_load(file.read_text(encoding="utf-8"))
    kept = create(kubectl, stored, "--dry-run=server")
    # Fields that came later get their defaults; what was stored means the same.
    assert accept(kept).spec == accept(stored).spec


def test_there_are_stored_objects() -> None:
    assert STORED


def test_a_profile_is_kept_as_it_was_written(kubectl: Kubectl) -> None:
    profile = {
        "like": "infiniband",
        "gpus": {"count": 4, "model": "L40S"},
        "gpu_worker_resources": {"$patch": "delete"},
        "devices": [{"name": "rdma/ib", "$patch": "delete"}, {"name": "rdma/hca_shared", "per_pod": 1}],
        "environment": [{"name": "UCX_NET_DEVICES", "value": "mlx5_0:1", "when": {"role": ["decode"]}}],
    }
    named = {**MINIMAL, "metadata": {"name": "profiled", "namespace": NAMESPACE}}
    named["spec"] = {**MINIMAL["spec"], "platformProfile": profile, "runtime": {"engine": "trtllm"}}
    stored = create(kubectl, named)
    assert stored["spec"]["platformProfile"] == profile
    installation = Installation("worker:1")
    assert plan(accept(stored), installation).revision == plan(accept(named), installation).revision
