"""PlatformReady of racks, with NVIDIA's driver and with the rights that the chart gives to the operator."""

import pytest

from chart.helm import Object
from integration.operator.control_plane import eventually
from integration.platforms.racks import OTHER_CLIQUE, TRAY, RackDeployment, add_trays, foreign
from testcluster.platforms.cluster import PlatformCluster

pytestmark = pytest.mark.apiserver


def test_a_rack_that_is_too_small_is_told_and_a_larger_one_is_ready(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 1)
    add_trays(platform, 1, OTHER_CLIQUE)
    demo.create()
    told = demo.wait_for("PlatformReady", "NoLargeDomain")
    assert "All workers share one value of the node label nvidia.com/gpu.clique" in told["message"]
    assert "the workers need 2 nodes (1 for prefill and 1 for decode), and 1 fit" in told["message"]
    add_trays(platform, 1)
    demo.wait_for("PlatformReady", "PlatformReady")


def test_workers_that_began_in_too_small_a_clique_are_told_the_way_out(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    (small,) = add_trays(platform, 1)
    demo.create()
    demo.running_on(1)
    platform.driver.simulate_daemons(demo.namespace, demo.domain, [small])
    large = add_trays(platform, 2, OTHER_CLIQUE)
    way_out = f"Write spec.placement.nodeSelector: {{nvidia.com/gpu.clique: {OTHER_CLIQUE}}}."
    eventually(lambda: way_out in demo.condition("ComputeDomainReady")["message"], "the way out is told", 60)
    assert way_out in demo.condition("PlatformReady")["message"]
    frontends = platform.add_nodes(
        1,
        prefix=f"arm-{demo.namespace[-4:]}",
        labels={"kubernetes.io/arch": "arm64", "nvidia.com/gpu.clique": OTHER_CLIQUE},
        channel=False,
    )
    assert frontends, "the selector holds for the frontend as well"
    demo.edit(placement={"nodeSelector": {"nvidia.com/gpu.clique": OTHER_CLIQUE}})
    assert demo.running_on(2) == sorted(large)


def test_claims_of_a_pod_template_are_looked_for_and_a_second_channel_is_told(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    """With the chart's rights alone: it may read no claim but by name."""
    add_trays(platform, 2)
    demo.create(prefill=claiming({"name": "nic", "resourceClaimTemplateName": "theirs-channel"}))
    told = demo.wait_for("PlatformReady", "ClaimMissing")
    assert "Prefill pods claim ResourceClaimTemplate theirs-channel, and namespace" in told["message"]
    assert "Run: kubectl get resourceclaimtemplates --namespace" in told["message"]
    # SIMULATED: a ComputeDomain that Grove made, for a PodCliqueSet.
    theirs = foreign(demo.namespace, "theirs", "theirs-channel")
    platform.kubectl.create([theirs])
    eventually(lambda: "theirs-channel" in demo.names("resourceclaimtemplates"), "its template is there")
    told = demo.wait_for("PlatformReady", "SecondChannel", seconds=120)
    uid = demo.api.get("computedomains", demo.namespace, "theirs")["metadata"]["uid"]
    assert f"the ComputeDomain with UID {uid}, and a node has one channel" in told["message"]
    demo.edit(prefill={"podTemplate": None})
    demo.wait_for("PlatformReady", "PlatformReady")
    demo.edit(prefill=claiming({"name": "nic", "resourceClaimName": "shared"}))
    told = demo.wait_for("PlatformReady", "ClaimMissing")
    assert "claim ResourceClaim shared," in told["message"]


def test_a_volume_that_is_not_there_is_told_in_the_scheduler_s_own_words(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    """With the chart's rights alone: it may read no PersistentVolumeClaim."""
    add_trays(platform, 2)
    source = {"persistentVolumeClaim": {"claimName": "models"}}
    demo.create(model={"name": "m", "source": source})
    told = demo.wait_for("PlatformReady", "VolumeMissing")
    assert f"Namespace {demo.namespace} has no PersistentVolumeClaim models. Create it" in told["message"]
    assert "(spec.model.source.persistentVolumeClaim.claimName)" in told["message"]
    cannot = f"cannot start: Namespace {demo.namespace} has no PersistentVolumeClaim models."
    assert cannot in demo.condition("Available")["message"]
    amount = {"accessModes": ["ReadOnlyMany"], "storageClassName": ""}
    volume = {
        **{"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": demo.namespace}},
        "spec": {**amount, "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/models"}},
    }
    claim = {
        **{"apiVersion": "v1", "kind": "PersistentVolumeClaim"},
        "metadata": {"name": "models", "namespace": demo.namespace},
        "spec": {
            **amount,
            "resources": {"requests": {"storage": "1Gi"}},
            "volumeName": demo.namespace,
        },
    }
    platform.kubectl.create([volume, claim])
    demo.wait_for("PlatformReady", "PlatformReady")
    platform.kubectl.text("delete", "persistentvolume", demo.namespace, "--wait=false")


def claiming(claim: Object) -> Object:
    """The prefill role, whose pods claim something beside their channel."""
    return {**TRAY, "podTemplate": {"spec": {"resourceClaims": [claim]}}}


def missing(condition: Object) -> str:
    """Return the message about what the driver brings: its class is watched, its kind asked for rarely."""
    reasons = ("ApiMissing", "DeviceClassMissing")
    return str(condition["message"]) if condition["reason"] in reasons else ""


def test_a_driver_that_is_absent_is_told_with_the_command_that_installs_it(
    platform: PlatformCluster, demo: RackDeployment
) -> None:
    add_trays(platform, 2)
    with platform.driver.absent():
        demo.create()
        told = eventually(lambda: missing(demo.condition("PlatformReady")), "the lack is told", 40)
        assert "It comes with NVIDIA's DRA driver. Run: helm install dra-driver-nvidia-gpu oci://" in told
    demo.wait_for("PlatformReady", "PlatformReady", seconds=120)
