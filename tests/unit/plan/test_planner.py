"""What the planner decides, seen in the objects that come out."""

from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rollout.reach import reaching
from unit.deployments import deployment_of
from unit.plan.worker_files import worker_files

INSTALLATION = Installation(worker_image="worker:test", discovery_role_name="discovery")


def resource(**spec: Any) -> dict[str, Any]:
    return deployment_of(
        {
            "model": {"name": "org/model", "source": {"runtimeImage": {"path": "/models/m"}}},
            "runtime": {"engine": "reference"},
            **spec,
        },
        namespace="ns",
        uid="u-1",
    )


def planned(**spec: Any) -> Plan:
    return plan(accept(resource(**spec)), INSTALLATION)


def found(objects: list[dict[str, Any]], kind: str, component: str) -> dict[str, Any]:
    (match,) = [
        each
        for each in objects
        if each["kind"] == kind and each["metadata"]["labels"]["disagg.dev/role"] == component
    ]
    return match


def container(objects: list[dict[str, Any]], component: str) -> dict[str, Any]:
    kind = "Deployment" if component == "frontend" else "StatefulSet"
    return found(objects, kind, component)["spec"]["template"]["spec"]["containers"][0]  # type: ignore[no-any-return]


def environment(objects: list[dict[str, Any]], component: str) -> dict[str, str | None]:
    return {each["name"]: each.get("value") for each in container(objects, component)["env"]}


def engine_file(objects: list[dict[str, Any]], role: str) -> Any:
    return yaml.safe_load(worker_files(objects, role)["engine.yaml"])


def test_prefill_and_decode_share_a_scope_that_carries_the_revision() -> None:
    result = planned()
    workers, shared = worker_objects(result), shared_objects(result)
    scope = environment(workers, "prefill")["DYN_NAMESPACE"]
    assert environment(workers, "decode")["DYN_NAMESPACE"] == scope
    for role in ("prefill", "decode"):
        assert environment(workers, role)["DYN_NAMESPACE_WORKER_SUFFIX"] == result.revision
    assert f"{scope}-{result.revision}" in container(shared, "frontend")["command"]
    beside = shared_objects(reaching(result, None))
    assert scope in container(beside, "frontend")["command"]
    other = shared_objects(reaching(result, "00000000"))
    assert f"{scope}-00000000" in container(other, "frontend")["command"]


def test_no_container_is_given_nats() -> None:
    result = planned()
    for component in ("prefill", "decode"):
        assert "NATS_SERVER" not in environment(worker_objects(result), component)
    assert "NATS_SERVER" not in environment(shared_objects(result), "frontend")


def test_a_frontend_is_ready_when_it_can_serve_the_model() -> None:
    probe = container(shared_objects(planned()), "frontend")["readinessProbe"]
    assert probe["httpGet"]["path"] == "/v1/models/org%2Fmodel/ready"


def test_workers_are_discovered_through_a_labelled_service_of_ready_pods() -> None:
    service = found(worker_objects(planned()), "Service", "worker")
    assert service["metadata"]["labels"]["nvidia.com/dynamo-discovery-enabled"] == "true"
    assert service["spec"]["clusterIP"] == "None"
    assert "publishNotReadyAddresses" not in service["spec"]


def test_roles_share_a_config_map_in_which_files_that_differ_have_keys_of_their_own() -> None:
    result = planned(decode={"engineConfig": {"scheduler": {"max_batch_size": 3}}})
    objects = worker_objects(result)
    keys = found(objects, "ConfigMap", "worker")["data"].keys()
    assert {"prefill.engine.yaml", "decode.engine.yaml"} <= keys
    assert [key for key in keys if "check_worker" in key] == ["check_worker.py"]
    sizes = [engine_file(objects, role)["scheduler"]["max_batch_size"] for role in ("prefill", "decode")]
    assert (sizes[0] != 3, sizes[1]) == (True, 3)


def test_every_object_is_owned_by_the_deployment() -> None:
    result = planned()
    for each in [*shared_objects(result), *worker_objects(result)]:
        (owner,) = each["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == ("u-1", True, True)


def test_containers_pass_the_restricted_pod_security_standard() -> None:
    result = planned()
    objects = [*shared_objects(result), *worker_objects(result)]
    for component in ("prefill", "decode", "frontend"):
        context = container(objects, component)["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert "privileged" not in context


def test_engine_config_is_merged_over_the_defaults() -> None:
    result = planned(decode={"engineConfig": {"kv_cache": {"block_tokens": 32}}})
    decode = engine_file(worker_objects(result), "decode")
    assert decode["kv_cache"] == {"block_tokens": 32, "memory_mib": 256}
    assert engine_file(worker_objects(result), "prefill")["kv_cache"]["block_tokens"] == 16
    assert "staging" not in decode, "what is left out is the worker's own"
    assert decode["transfer"] == {"method": "NIXL", "backend": "UCX", "timeout_seconds": 60}


def test_staging_memory_of_the_reference_engine_is_the_users() -> None:
    result = planned(decode={"engineConfig": {"staging": {"use": "never", "slots": 2}}})
    assert engine_file(worker_objects(result), "decode")["staging"] == {"use": "never", "slots": 2}


@pytest.mark.parametrize(
    ("config", "field", "fragment"),
    [
        (
            {"staging": {"slot": 1}},
            "spec.prefill.engineConfig.staging.slot",
            "most_mb_per_second, slot_mib, slots, use",
        ),
        ({"kv_cash": {}}, "spec.prefill.engineConfig.kv_cash", "compute, kv_cache, scheduler, staging"),
        (
            {"kv_cache": {"block": 1}},
            "spec.prefill.engineConfig.kv_cache.block",
            "block_tokens, enable_block_reuse, memory_mib",
        ),
        ({"kv_cache": {"block_tokens": 0}}, "spec.prefill.engineConfig.kv_cache.block_tokens", "given: 0"),
        ({"kv_cache": {"block_tokens": "16"}}, "spec.prefill.engineConfig.kv_cache.block_tokens", "'16'"),
    ],
)
def test_a_wrong_engine_config_is_refused(config: dict[str, Any], field: str, fragment: str) -> None:
    with pytest.raises(Refusal) as refused:
        planned(prefill={"engineConfig": config})
    (problem,) = refused.value.problems
    assert problem.field == field
    assert fragment in str(problem)


def test_the_users_variables_win_and_roles_win_over_both() -> None:
    result = planned(
        env=[{"name": "UCX_TLS", "value": "tcp"}, {"name": "A", "value": "both"}],
        decode={"env": [{"name": "A", "value": "decode"}]},
    )
    workers = worker_objects(result)
    assert environment(workers, "prefill")["A"] == "both"
    assert environment(workers, "decode")["A"] == "decode"
    assert environment(workers, "decode")["UCX_TLS"] == "tcp"


def test_a_pod_template_is_merged_over_the_derived_one() -> None:
    overrides = {
        "metadata": {"labels": {"team": "x"}},
        "spec": {"priorityClassName": "p"},
    }
    result = planned(prefill={"podTemplate": overrides})
    template = found(worker_objects(result), "StatefulSet", "prefill")["spec"]["template"]
    assert template["metadata"]["labels"]["disagg.dev/role"] == "prefill"
    assert template["metadata"]["labels"]["team"] == "x"
    assert template["spec"]["priorityClassName"] == "p"
    assert template["spec"]["containers"][0]["name"] == "worker"


def test_a_volume_is_mounted_read_only_and_named_to_the_engine() -> None:
    model = {"name": "m", "source": {"persistentVolumeClaim": {"claimName": "models", "path": "a/b"}}}
    workers = worker_objects(planned(model=model))
    (mount,) = [each for each in container(workers, "prefill")["volumeMounts"] if each["name"] == "model"]
    assert mount["readOnly"] is True
    assert engine_file(workers, "prefill")["model"]["path"] == f"{mount['mountPath']}/a/b"


def test_a_user_may_bring_a_service_account() -> None:
    shared = shared_objects(planned(serviceAccountName="mine"))
    assert not [each for each in shared if each["kind"] == "ServiceAccount"]
    binding = found(shared, "RoleBinding", "worker")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "mine", "namespace": "ns"}]
    assert binding["roleRef"]["name"] == "discovery"


def test_the_frontend_is_not_part_of_the_revision() -> None:
    assert planned().revision == planned(frontend={"replicas": 3, "port": 9000}).revision


def test_an_unknown_platform_is_refused_with_those_that_exist() -> None:
    with pytest.raises(Refusal, match=r"generic.*local"):
        planned(platform="nowhere")
