"""Volumes, Secrets and ConfigMaps that are missing: how it is known, who names them, and what is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import observe
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Fault
from disagg_operator.reconcile.reporting.missing import Missing, missing_in, naming, unmounted, with_missing
from disagg_operator.reconcile.reporting.refusals import AGAIN_SECONDS
from unit.reconcile.fake_cluster import FakeCluster, controlled_by, deployment
from unit.reconcile.test_reconciler import drive

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
SPEC: Object = {
    "env": [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}}],
    "model": {
        "source": {
            "huggingFace": {
                "tokenSecretRef": {"name": "hub", "key": "token"},
                "cache": {"persistentVolumeClaim": {"claimName": "models"}},
            }
        }
    },
    "prefill": {
        "podTemplate": {
            "spec": {
                "containers": [{"name": "worker", "envFrom": [{"configMapRef": {"name": "extra"}}]}],
                "volumes": [
                    {"name": "certs", "secret": {"secretName": "hub"}},
                    {"name": "files", "projected": {"sources": [{"configMap": {"name": "extra"}}]}},
                    {"name": "models", "hostPath": {"path": "models"}},
                ],
            }
        }
    },
}
PVC = '0/3 nodes are available: persistentvolumeclaim "models" not found. preemption: no victims.'
MOUNT = 'MountVolume.SetUp failed for volume "certs" : secret "hub" not found'


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def pod(name: str = "p-0", *, scheduled: float | None = 60, message: str = "", **status: Any) -> Object:
    """Return a pod that got its node so many seconds ago, or none."""
    condition = {"type": "PodScheduled", "status": str(scheduled is not None), "message": message}
    condition |= {} if scheduled is None else {"lastTransitionTime": ago(scheduled)}
    conditions = [condition, *status.pop("conditions", [])]
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "labels": {"disagg.dev/role": "prefill", "disagg.dev/revision": name},
            "creationTimestamp": ago(900),
        },
        "status": {"conditions": conditions, **status},
    }


def waiting(message: str) -> list[Object]:
    state = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
    return [{"name": "worker", "state": state}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PVC, Missing("PersistentVolumeClaim", "models")),
        (MOUNT, Missing("Secret", "hub")),
        ('configmap "extra" not found', Missing("ConfigMap", "extra")),
        ("couldn't find key token in Secret team/hub", Missing("Secret", "hub", "token")),
        ("couldn't find key a.b in ConfigMap team/extra, skipped", Missing("ConfigMap", "extra", "a.b")),
        ("couldn't find key token in Secret team/hub.", Missing("Secret", "hub", "token")),
        ("0/3 nodes are available: 3 Insufficient cpu.", None),
        ('serviceaccount "x" not found', None),
        ("", None),
    ],
)
def test_what_is_missing_is_read_from_what_kubernetes_says(text: str, expected: Missing | None) -> None:
    assert missing_in(text) == expected


@pytest.mark.parametrize(
    ("missing", "fields"),
    [
        (
            Missing("Secret", "hub"),
            [
                "spec.env[TOKEN].valueFrom.secretKeyRef.name",
                "spec.model.source.huggingFace.tokenSecretRef.name",
                "spec.prefill.podTemplate.spec.volumes[certs].secret.secretName",
            ],
        ),
        (
            Missing("PersistentVolumeClaim", "models"),
            ["spec.model.source.huggingFace.cache.persistentVolumeClaim.claimName"],
        ),
        (
            Missing("ConfigMap", "extra"),
            [
                "spec.prefill.podTemplate.spec.containers[worker].envFrom[0].configMapRef.name",
                "spec.prefill.podTemplate.spec.volumes[files].projected.sources[0].configMap.name",
            ],
        ),
        (Missing("ConfigMap", "hub"), []),
    ],
)
def test_the_fields_that_name_it_are_told(missing: Missing, fields: list[str]) -> None:
    assert list(naming(SPEC, missing)) == fields


def found(*pods: Object, events: tuple[Object, ...] = ()) -> list[Fault]:
    resource = {"metadata": {"namespace": "ns"}, "spec": SPEC}
    return list(with_missing(Assessment(), resource, observe(pods), events, NOW).faults)


def test_it_is_told_once_with_what_names_it_and_what_to_do() -> None:
    pods = [pod(name, scheduled=None, message=PVC) for name in ("p-0", "p-1")]
    (fault,) = found(*pods, pod("p-2", containerStatuses=waiting('secret "strange" not found')))
    assert fault.check is Check.VOLUME_MISSING
    assert not fault.fatal
    assert str(fault) == (
        "Namespace ns has no PersistentVolumeClaim models. Create it, or correct the field that names it. "
        "See: kubectl get persistentvolumeclaim --namespace ns "
        "(spec.model.source.huggingFace.cache.persistentVolumeClaim.claimName)"
    )


def test_what_containers_wait_for_and_what_is_not_mounted_are_told_each_by_its_own_check() -> None:
    told = found(
        pod("p-0", containerStatuses=waiting('configmap "extra" not found')),
        pod("p-1", initContainerStatuses=waiting("couldn't find key token in Secret ns/hub")),
        events=({"metadata": {"creationTimestamp": ago(3000)}, "note": MOUNT, "eventTime": ago(100)},),
    )
    assert [fault.check for fault in told] == [
        Check.CONFIG_MAP_MISSING,
        Check.SECRET_MISSING,
        Check.SECRET_MISSING,
    ]
    assert "Secret hub in namespace ns has no key token. Add it" in told[1].message
    assert "Namespace ns has no Secret hub." in told[2].message


UNBOUND = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found."


def unbound(seconds: float) -> Object:
    found = pod(scheduled=None, message=UNBOUND)
    found["status"]["conditions"][0]["lastTransitionTime"] = ago(seconds)
    return found


def test_a_claim_that_stays_without_a_volume_is_told_with_its_field() -> None:
    (fault,) = found(unbound(10))
    assert fault.check is Check.VOLUME_NOT_BOUND
    assert not fault.fatal
    assert str(fault) == (
        "PersistentVolumeClaim models in namespace ns is bound to no volume (pod has unbound immediate "
        "PersistentVolumeClaims). Give it a StorageClass that makes volumes, or a PersistentVolume that "
        "fits. See: kubectl describe persistentvolumeclaims models --namespace ns "
        "(spec.model.source.huggingFace.cache.persistentVolumeClaim.claimName)"
    )


def test_a_volume_that_is_being_made_is_waited_for_and_looked_at_again() -> None:
    assert found(unbound(4)) == []
    assert unmounted(observe([unbound(4)]), NOW).again == 6
    assert unmounted(observe([unbound(60)]), NOW).again is None


def test_claims_of_a_role_whose_pods_have_theirs_are_not_named() -> None:
    claim = {"persistentVolumeClaim": {"claimName": "mine"}}
    of_decode = {"decode": {"podTemplate": {"spec": {"volumes": [{"name": "v", **claim}]}}}}
    resource = {"metadata": {"namespace": "ns"}, "spec": of_decode}
    assert not with_missing(Assessment(), resource, observe([unbound(60)]), (), NOW).faults
    (fault,) = with_missing(
        Assessment(), {**resource, "spec": {"prefill": of_decode["decode"]}}, observe([unbound(60)]), (), NOW
    ).faults
    assert fault.source == "spec.prefill.podTemplate.spec.volumes[v].persistentVolumeClaim.claimName"


def test_nothing_is_told_of_what_was_mended() -> None:
    late = {"metadata": {"creationTimestamp": ago(3000)}, "note": MOUNT, "eventTime": ago(400)}
    ready = pod("p-0", containerStatuses=waiting('configmap "extra" not found'))
    ready["status"]["conditions"].append({"type": "Ready", "status": "True"})
    ending = pod("p-1", scheduled=None, message=PVC)
    ending["metadata"]["deletionTimestamp"] = ago(1)
    assert found(ready, ending, events=(late,)) == []


@pytest.mark.parametrize(
    ("pods", "suspects", "again"),
    [
        pytest.param([], 0, None, id="no pods"),
        pytest.param([pod(scheduled=None)], 0, None, id="no node yet"),
        pytest.param([pod(scheduled=4)], 0, 6.0, id="just scheduled"),
        pytest.param([pod(scheduled=11)], 1, AGAIN_SECONDS, id="for a while"),
        pytest.param([pod(), pod()], 1, AGAIN_SECONDS, id="one of a revision says it"),
        pytest.param([pod("a"), pod("b")], 2, AGAIN_SECONDS, id="one of each revision"),
        pytest.param(
            [pod(conditions=[{"type": "PodReadyToStartContainers", "status": "True"}])],
            0,
            None,
            id="an image is being pulled",
        ),
        pytest.param(
            [pod(initContainerStatuses=[{"state": {"terminated": {"exitCode": 0}}}])], 0, None, id="it ran"
        ),
    ],
)
def test_events_are_looked_up_of_pods_whose_volumes_are_not_mounted(
    pods: list[Object], suspects: int, again: float | None
) -> None:
    overdue = unmounted(observe(pods), NOW)
    assert (len(overdue.suspects), overdue.again) == (suspects, again)


def test_a_reconcile_asks_for_events_and_has_the_condition_tell() -> None:
    template = {"spec": {"volumes": [{"name": "certs", "secret": {"secretName": "hub"}}]}}
    cluster = FakeCluster(deployment(decode={"podTemplate": template}))
    drive(cluster)
    (owner,) = (
        obj for (kind, name), obj in cluster.objects.items() if kind == "StatefulSet" and "decode" in name
    )
    stuck = pod("demo-decode-0")
    stuck["metadata"] |= {
        "uid": "stuck",
        "labels": owner["spec"]["template"]["metadata"]["labels"],
        "ownerReferences": [controlled_by(owner)],
    }
    stuck["status"]["conditions"][0]["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    cluster.objects["Pod", "demo-decode-0"] = stuck
    outcome = drive(cluster)
    assert cluster.condition("PlatformReady")["status"] == "True"
    assert outcome.again is not None
    assert outcome.again <= AGAIN_SECONDS
    cluster.failures = [{"metadata": {}, "note": MOUNT, "eventTime": datetime.now(UTC).isoformat()}]
    drive(cluster)
    told = cluster.condition("PlatformReady")
    assert (told["status"], told["reason"]) == ("False", "SecretMissing")
    assert "spec.decode.podTemplate.spec.volumes[certs].secret.secretName" in told["message"]
