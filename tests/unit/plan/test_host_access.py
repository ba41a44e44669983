"""What resources may ask of their nodes where the installation gives them what profiles say and no more."""

from collections.abc import Mapping
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.installation import HostAccess, Installation
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rules import every_rule
from unit.deployments import trtllm

LIMITED = HostAccess(limited=True)
HOST_RULES = {"host-access", "host-paths", "host-security-mode"}


def refused(spec: Mapping[str, Any], host: HostAccess = LIMITED, platform: str = "generic") -> dict[str, str]:
    """Return the remedies of what is refused because of the node, by field."""
    try:
        plan(accept(trtllm(platform, **spec)), Installation("worker:test", host=host))
    except Refusal as refusal:
        return {each.field: each.remedy for each in refusal.problems if each.rule in HOST_RULES}
    return {}


def template(**pod: Any) -> dict[str, Any]:
    return {"decode": {"parallelism": {"tensor": 2}, "podTemplate": {"spec": pod}}}


def container(kind: str = "containers", **fields: Any) -> dict[str, Any]:
    return template(**{kind: [{"name": "worker", **fields}]})


SPEC = "spec.decode.podTemplate.spec"
CASES: list[tuple[str, dict[str, Any]]] = [
    (f"{SPEC}.hostNetwork", template(hostNetwork=True)),
    (f"{SPEC}.hostPID", template(hostPID=True)),
    (f"{SPEC}.hostIPC", template(hostIPC=True)),
    (f"{SPEC}.volumes[0].hostPath", template(volumes=[{"name": "a", "hostPath": {"path": "/etc"}}])),
    (
        f"{SPEC}.securityContext.seccompProfile",
        template(securityContext={"seccompProfile": {"type": "Unconfined"}}),
    ),
    (
        f"{SPEC}.securityContext.windowsOptions.hostProcess",
        template(securityContext={"windowsOptions": {"hostProcess": True}}),
    ),
    (f"{SPEC}.containers[0].securityContext.privileged", container(securityContext={"privileged": True})),
    (
        f"{SPEC}.initContainers[0].securityContext.privileged",
        container("initContainers", securityContext={"privileged": True}),
    ),
    (
        f"{SPEC}.containers[0].securityContext.capabilities.add",
        container(securityContext={"capabilities": {"add": ["SYS_ADMIN"]}}),
    ),
    (f"{SPEC}.containers[0].securityContext.procMount", container(securityContext={"procMount": "Unmasked"})),
    (
        f"{SPEC}.containers[0].securityContext.appArmorProfile",
        container(securityContext={"appArmorProfile": {"type": "Unconfined"}}),
    ),
    (f"{SPEC}.containers[0].ports[0].hostPort", container(ports=[{"containerPort": 1, "hostPort": 1}])),
    (
        "spec.frontend.podTemplate.spec.hostNetwork",
        {"frontend": {"podTemplate": {"spec": {"hostNetwork": True}}}},
    ),
    (
        "spec.decode.podTemplate.metadata.annotations[container.apparmor.security.beta.kubernetes.io/worker]",
        {
            "decode": {
                "parallelism": {"tensor": 2},
                "podTemplate": {
                    "metadata": {
                        "annotations": {"container.apparmor.security.beta.kubernetes.io/worker": "unconfined"}
                    }
                },
            }
        },
    ),
    (
        "spec.platformProfile.mounts[0].host_path",
        {"platformProfile": {"mounts": [{"name": "a", "path": "/a", "host_path": "/etc"}]}},
    ),
    ("spec.security.mode", {"security": {"mode": "Privileged"}}),
]


@pytest.mark.parametrize(("field", "spec"), CASES, ids=[field for field, _ in CASES])
def test_what_no_profile_gives_is_refused_with_the_field_and_who_can_give_it(
    field: str, spec: dict[str, Any]
) -> None:
    found = refused(spec)
    assert list(found) == [field]
    assert "Leave it out, or have the administrator" in found[field]


@pytest.mark.parametrize("spec", [spec for _, spec in CASES], ids=[field for field, _ in CASES])
def test_where_pod_security_alone_decides_nothing_is_refused(spec: dict[str, Any]) -> None:
    assert refused(spec, HostAccess()) == {}


def test_no_resource_can_override_it() -> None:
    assert not any(rule.unsafe for rule in every_rule() if rule.id in HOST_RULES)


def test_what_restricted_pods_may_do_is_not_asked_about() -> None:
    harmless = container(
        securityContext={
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        ports=[{"containerPort": 9000}],
    )
    assert refused(harmless) == {}
    assert refused(template(volumes=[{"name": "a", "emptyDir": {}}], nodeName="a")) == {}


def node_cache(path: str) -> dict[str, Any]:
    hub = {"repository": "org/m", "cache": {"node": {"path": path}}}
    return {"model": {"name": "m", "source": {"huggingFace": hub}}}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/mnt/models", True),
        ("/mnt/models/deep/er", True),
        ("/mnt/models/", True),
        ("/mnt/models-of-others", False),
        ("/mnt/models/../../etc", False),
        ("/mnt", False),
        ("/", False),
    ],
)
def test_directories_that_the_installation_names_may_be_mounted(path: str, allowed: bool) -> None:
    host = HostAccess(limited=True, paths=("/mnt/models",))
    mounted = template(volumes=[{"name": "a", "hostPath": {"path": path}}])
    profile = {"platformProfile": {"mounts": [{"name": "a", "path": "/a", "host_path": path}]}}
    # A path with '..' is refused of a cache in any installation.
    for spec in (mounted, profile, *([] if ".." in path else [node_cache(path)])):
        found = refused(spec, host)
        assert bool(found) is not allowed
        assert all("tenants.hostPaths" in remedy for remedy in found.values())


def test_what_the_platforms_own_profiles_give_is_taken() -> None:
    assert refused({"security": {"mode": "Privileged"}}, platform="aws-p5.48xlarge") == {}
    assert refused({"security": {"mode": "IpcLock"}}, platform="aws-p5.48xlarge") == {}
    assert refused({}, platform="gke-a4") == {}
    ours = template(volumes=[{"name": "again", "hostPath": {"path": "/home/kubernetes/bin/gib"}}])
    assert refused(ours, platform="gke-a4") == {}
    assert list(refused(ours)) == [f"{SPEC}.volumes[0].hostPath"]
