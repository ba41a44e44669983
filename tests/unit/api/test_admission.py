"""Every admission rule finds its fault, says what to do, and leaves good resources alone."""

from typing import Any

import pytest
from pydantic.alias_generators import to_camel

from disagg_operator.api.admission import RULES, check
from disagg_operator.api.admission.supported import DYNAMO_TABLE, OF_ENGINE
from disagg_operator.api.parse import parse
from disagg_operator.api.problems import Problem
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

PLUGINS = "/opt/venv/lib/python3.12/site-packages/tensorrt_llm/libs/nixl/plugins"


def found(spec: dict[str, Any]) -> tuple[Problem, ...]:
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "example"},
        "spec": {
            "model": {"name": "small", "source": {"runtimeImage": {"path": "/models/small"}}},
            "runtime": {"engine": "reference"},
            **spec,
        },
    }
    judgement = check(parse(resource))
    return (*judgement.refused, *judgement.warned)


def env(*variables: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in variables]


def template(**spec: Any) -> dict[str, Any]:
    return {"podTemplate": {"spec": spec}}


def claim(path: str) -> dict[str, Any]:
    return {"name": "small", "source": {"persistentVolumeClaim": {"claimName": "models", "path": path}}}


def cached(cache: dict[str, Any] | None, **hub: Any) -> dict[str, Any]:
    given = {"repository": "acme/tiny", **({} if cache is None else {"cache": cache}), **hub}
    return {"name": "small", "source": {"huggingFace": given}}


HUB = "spec.model.source.huggingFace"
CACHE = f"{HUB}.cache"
CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}
TRTLLM = {"engine": "trtllm"}
WORKER = "spec.decode.podTemplate.spec.containers[0]"

FAULTS: list[tuple[str, dict[str, Any], str]] = [
    ("network-peers", {"network": {"clients": [{"podSelectr": {}}]}}, "spec.network.clients[0].podSelectr"),
    (
        "network-heeded",
        {"network": {"policy": "None", "clients": [{"podSelector": {}}]}},
        "spec.network.clients",
    ),
    ("lists-no-duplicates", {"security": {"allowUnsafe": ["a", "b", "a"]}}, "spec.security.allowUnsafe[2]"),
    (
        "lists-no-duplicates",
        {"runtime": {"imagePullSecrets": [{"name": "a"}, {"name": "a"}]}},
        "spec.runtime.imagePullSecrets[1]",
    ),
    (
        "toleration-compares",
        {"placement": {"tolerations": [{"key": "a", "operator": "Gt", "value": "5"}]}},
        "spec.placement.tolerations[0].operator",
    ),
    (
        "toleration-compares",
        {
            "decode": {
                "podTemplate": {"spec": {"tolerations": [{"key": "a", "operator": "Lt", "value": "5"}]}}
            }
        },
        "spec.decode.podTemplate.spec.tolerations[0].operator",
    ),
    ("text-no-nul", {"env": env(("A", "a\0b"))}, "spec.env[0].value"),
    ("text-no-expansion", {"model": cached(None, endpoint="http://$(A)")}, f"{HUB}.endpoint"),
    ("text-no-option", {"model": cached(None, revision="--force")}, f"{HUB}.revision"),
    ("text-no-option", {"model": cached(CLAIM, files=["-x"])}, f"{HUB}.files[0]"),
    (
        "etcd-endpoint-alone",
        {"discovery": {"etcd": {"endpoints": ["http://a:1,http://b:1"]}}},
        "spec.discovery.etcd.endpoints[0]",
    ),
    (
        "env-one-line-in-groups",
        {"decode": {"nodesPerReplica": 2, "env": env(("LD_LIBRARY_PATH", "/a\nPort 1"))}},
        "spec.decode.env[0].value",
    ),
    ("model-one-source", {"model": {"name": "small", "source": {}}}, "spec.model.source"),
    ("model-path-inside", {"model": claim("a/../../b")}, "spec.model.source.persistentVolumeClaim.path"),
    ("model-path-inside", {"model": claim("/a")}, "spec.model.source.persistentVolumeClaim.path"),
    (
        "model-path-inside",
        {"model": cached({"persistentVolumeClaim": {"claimName": "c", "path": "/a"}})},
        f"{CACHE}.persistentVolumeClaim.path",
    ),
    ("model-path-inside", {"model": cached({"node": {"path": "/a/../b"}})}, f"{CACHE}.node.path"),
    ("model-one-cache", {"model": cached({})}, CACHE),
    (
        "model-one-cache",
        {"model": cached({"persistentVolumeClaim": {"claimName": "c"}, "node": {"path": "/a"}})},
        CACHE,
    ),
    (
        "model-files-need-cache",
        {"runtime": TRTLLM, "model": cached(None, files=["*.json"])},
        "spec.model.source.huggingFace.files",
    ),
    ("model-fetched-for-reference", {"model": cached(None)}, CACHE),
    (
        "nixl-backend-needs-nixl",
        {"transfer": {"method": "UCX", "nixlBackend": "UCX"}},
        "spec.transfer.nixlBackend",
    ),
    (
        "etcd-fields-need-etcd",
        {"discovery": {"backend": "kubernetes", "etcd": {"endpoints": ["http://e:2379"]}}},
        "spec.discovery.etcd",
    ),
    (
        "discovery-own-or-external",
        {"discovery": {"etcd": {"managed": True, "endpoints": ["http://e:2379"]}}},
        "spec.discovery.etcd.managed",
    ),
    (
        "discovery-own-or-external",
        {"discovery": {"etcd": {"image": "etcd:1", "endpoints": ["http://e:2379"]}}},
        "spec.discovery.etcd.endpoints",
    ),
    (
        "discovery-own-or-external",
        {"discovery": {"nats": {"replicas": 3, "server": "nats://n:4222"}}},
        "spec.discovery.nats.server",
    ),
    ("discovery-own-or-external", {"discovery": {"nats": {"managed": False}}}, "spec.discovery.nats.managed"),
    ("discovery-members", {"discovery": {"nats": {"replicas": 2}}}, "spec.discovery.nats.replicas"),
    (
        "discovery-storage-size",
        {"discovery": {"etcd": {"storage": {"size": 0}}}},
        "spec.discovery.etcd.storage.size",
    ),
    ("etcd-members-keep-data", {"discovery": {"etcd": {"replicas": 3}}}, "spec.discovery.etcd.replicas"),
    (
        "lists-no-duplicates",
        {"discovery": {"etcd": {"endpoints": ["http://e:1", "http://e:2", "http://e:1"]}}},
        "spec.discovery.etcd.endpoints[2]",
    ),
    (
        "expert-divides-tensor",
        {"decode": {"parallelism": {"tensor": 8, "expert": 3}}},
        "spec.decode.parallelism.expert",
    ),
    (
        "prefill-no-context-parallel",
        {"runtime": TRTLLM, "prefill": {"parallelism": {"context": 2}}},
        "spec.prefill.parallelism.context",
    ),
    (
        "gpus-equal-ranks",
        {
            "runtime": TRTLLM,
            "decode": {"gpusPerNode": 4, "nodesPerReplica": 2, "parallelism": {"tensor": 16}},
        },
        "spec.decode.gpusPerNode",
    ),
    (
        "gpus-equal-ranks",
        {"runtime": TRTLLM, "decode": {"nodesPerReplica": 3, "parallelism": {"tensor": 16}}},
        "spec.decode.nodesPerReplica",
    ),
    (
        "scaling-bounds",
        {"scaling": {"prefill": {"minReplicas": 3, "maxReplicas": 2}}},
        "spec.scaling.prefill.minReplicas",
    ),
    *(
        ("rollout-can-move", {"rollout": {role: limits}}, f"spec.rollout.{role}.maxUnavailable")
        for role, limits in (
            ("prefill", {"maxSurge": 0, "maxUnavailable": 0}),
            ("decode", {"maxSurge": "0%", "maxUnavailable": "0%"}),
        )
    ),
    *(
        (
            "verification-used",
            {"verification": {"mode": "Off", field: value}},
            f"spec.verification.{field}",
        )
        for field, value in {
            "intervalSeconds": 60,
            "minimumGBps": 1.5,
            "canary": True,
            "promptTokens": 64,
            "kvBytesPerToken": 1024,
        }.items()
    ),
    *(
        (
            "verification-used",
            {"verification": {"canary": False, field: value}},
            f"spec.verification.{field}",
        )
        for field, value in {"minimumGBps": 1.5, "promptTokens": 64, "kvBytesPerToken": 1024}.items()
    ),
    (
        "verification-can-end",
        {"verification": {"mode": "Enforce", "canary": False}},
        "spec.verification.canary",
    ),
    (
        "compute-domain-consistent",
        {"computeDomain": {"name": "mine", "numNodes": 2}},
        "spec.computeDomain.numNodes",
    ),
    (
        "compute-domain-consistent",
        {"computeDomain": {"enabled": False, "numNodes": 2}},
        "spec.computeDomain.enabled",
    ),
    ("gang-consistent", {"placement": {"gang": {"scheduler": "Kueue"}}}, "spec.placement.gang.queue"),
    ("frontend-has-file", {"frontend": {"config": {"max_retries": 2}}}, "spec.frontend.config"),
    ("frontend-port-free", {"frontend": {"port": 80}}, "spec.frontend.port"),
    ("env-no-duplicates", {"env": env(("A", "1"), ("B", "2"), ("A", "3"))}, "spec.env[2]"),
    (
        "env-value-or-source",
        {"env": [{"name": "A", "value": "", "valueFrom": {"fieldRef": {}}}]},
        "spec.env[0]",
    ),
    ("env-value-or-source", {"env": [{"name": "A", "valueFrom": {}}]}, "spec.env[0].valueFrom"),
    (
        "env-value-or-source",
        {"env": [{"name": "A", "valueFrom": {"fieldRef": {}, "secretKeyRef": {}}}]},
        "spec.env[0].valueFrom",
    ),
    ("env-wiring-reserved", {"decode": {"env": env(("DYN_NAMESPACE", "x"))}}, "spec.decode.env[0]"),
    ("env-wiring-reserved", {"frontend": {"env": env(("HOME", "/x"))}}, "spec.frontend.env[0]"),
    ("env-wiring-reserved", {"prefill": {"env": env(("DYN_SYSTEM_HOST", "::1"))}}, "spec.prefill.env[0]"),
    (
        "env-wiring-reserved",
        {"frontend": {"env": env(("DYN_HTTP_SVC_CHAT_PATH", "/x"))}},
        "spec.frontend.env[0]",
    ),
    (
        "env-wiring-reserved",
        {"decode": template(containers=[{"name": "worker", "env": env(("POD_UID", "x"))}])},
        f"{WORKER}.env[0]",
    ),
    (
        "env-one-nixl-backend",
        {"env": env(("NIXL_BACKEND", "UCX")), "decode": {"env": env(("TRTLLM_NIXL_KVCACHE_BACKEND", "UCX"))}},
        "spec.decode.env",
    ),
    ("env-nixl-plugin-dir", {"env": env(("NIXL_PLUGINS_DIR", "/x"))}, "spec.env[0]"),
    ("env-nixl-backend-spelling", {"env": env(("TRTLLM_NIXL_KVCACHE_BACKEND", "ucx"))}, "spec.env[0]"),
    ("env-kvbm-words", {"env": env(("DYN_KVBM_NIXL_BACKEND_GDS", "enable"))}, "spec.env[0]"),
    ("env-kvbm-words", {"env": env(("DYN_KVBM_NIXL_BACKEND_GDS_MT", "2"))}, "spec.env[0]"),
    (
        "kvbm-plugin-known",
        {"runtime": TRTLLM, "transfer": {"kvbm": {"nixlBackends": {"gds": True}}}},
        "spec.transfer.kvbm.nixlBackends.gds",
    ),
    ("env-no-method-switch", {"env": env(("TRTLLM_USE_UCX_KVCACHE", "1"))}, "spec.env[0]"),
    ("env-no-method-switch", {"env": env(("TRTLLM_USE_UCX_KV_CACHE", "1"))}, "spec.env[0]"),
    (
        "env-efa-shared-memory",
        {"prefill": {"env": env(("FI_EFA_ENABLE_SHM_TRANSFER", "1"))}},
        "spec.prefill.env[0]",
    ),
    ("env-prefill-plugins", {"env": env(("NIXL_PLUGIN_DIR", PLUGINS))}, "spec.env[0]"),
    ("env-plain-secret", {"env": env(("HF_TOKEN", "x"))}, "spec.env[0]"),
    ("env-plain-secret", {"env": env(("AWS_SECRET_ACCESS_KEY", "x"))}, "spec.env[0]"),
    ("pod-template-keys", {"decode": {"podTemplate": {"volumes": []}}}, "spec.decode.podTemplate.volumes"),
    ("pod-template-keys", {"decode": {"podTemplate": {"spec": []}}}, "spec.decode.podTemplate.spec"),
    ("pod-template-names", {"decode": template(containers=[{"image": "a"}])}, WORKER),
    (
        "pod-template-labels",
        {"decode": {"podTemplate": {"metadata": {"labels": {"disagg.dev/role": "x"}}}}},
        "spec.decode.podTemplate.metadata.labels[disagg.dev/role]",
    ),
    (
        "pod-template-restricted",
        {"security": {"mode": "Restricted"}, "decode": template(hostNetwork=True)},
        "spec.decode.podTemplate.spec.hostNetwork",
    ),
    (
        "pod-template-restricted",
        {
            "security": {"mode": "Restricted"},
            "decode": template(volumes=[{"name": "efa", "hostPath": {"path": "/opt/amazon/efa"}}]),
        },
        "spec.decode.podTemplate.spec.volumes[0]",
    ),
    (
        "pod-template-restricted",
        {
            "security": {"mode": "Restricted"},
            "decode": template(
                containers=[{"name": "w", "securityContext": {"capabilities": {"add": ["IPC_LOCK"]}}}]
            ),
        },
        f"{WORKER}.securityContext.capabilities.add",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"key": "a", "operator": "Exist"}]}},
        "spec.placement.tolerations[0].operator",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"key": "a", "efect": "NoExecute"}]}},
        "spec.placement.tolerations[0].efect",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"effect": "NoExecute"}]}},
        "spec.placement.tolerations[0]",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}},
        "spec.placement.tolerations[0].value",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"key": "a", "operator": "Gt", "value": "b"}]}},
        "spec.placement.tolerations[0].value",
    ),
    (
        "toleration-shape",
        {"placement": {"tolerations": [{"key": "a", "operator": "Exists", "tolerationSeconds": 5}]}},
        "spec.placement.tolerations[0].tolerationSeconds",
    ),
    (
        "node-selector-shape",
        {"placement": {"nodeSelector": {"a b": "c"}}},
        "spec.placement.nodeSelector[a b]",
    ),
    ("pod-template-kept", {"decode": {"podTemplate": {"spec": None}}}, "spec.decode.podTemplate.spec"),
    (
        "pod-template-kept",
        {"decode": {"podTemplate": {"$patch": "delete"}}},
        "spec.decode.podTemplate.$patch",
    ),
    ("pod-template-kept", {"decode": template(containers=None)}, "spec.decode.podTemplate.spec.containers"),
    ("pod-template-kept", {"decode": template(containers=[{"name": "worker", "$patch": "delete"}])}, WORKER),
    (
        "pod-template-once",
        {"decode": template(volumes=[{"name": "x", "emptyDir": {}}, {"name": "x", "emptyDir": {}}])},
        "spec.decode.podTemplate.spec.volumes[1]",
    ),
    (
        "pod-template-shape",
        {"decode": template(containers=[{"name": "worker", "imagee": "x"}])},
        f"{WORKER}.imagee",
    ),
    (
        "pod-template-shape",
        {"decode": template(containers=[{"name": "worker", "ports": [{"containerPort": 0}]}])},
        f"{WORKER}.ports[0].containerPort",
    ),
    (
        "pod-template-shape",
        {"frontend": {"podTemplate": {"metadata": {"annotations": {"a": "x" * 300_000}}}}},
        "spec.frontend.podTemplate.metadata.annotations",
    ),
    (
        "env-value-or-source",
        {"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "S", "key": "k"}}}]},
        "spec.env[0].valueFrom.secretKeyRef.name",
    ),
    ("resource-names", {"decode": {"resources": {"requests": {"a": 1}}}}, "spec.decode.resources.requests.a"),
    ("resource-names", {"decode": {"devices": {"a b/c": 1}}}, "spec.decode.devices[a b/c]"),
    (
        "resources-not-shared",
        {"decode": {"resources": {"requests": {"hugepages-2Mi": "2Mi"}}}},
        "spec.decode.resources.limits[hugepages-2Mi]",
    ),
    (
        "resources-not-shared",
        {"decode": {"resources": {"requests": {"a/b": 1}, "limits": {"a/b": 2}}}},
        "spec.decode.resources.requests[a/b]",
    ),
    (
        "requests-within-limits",
        {"frontend": {"resources": {"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}}}},
        "spec.frontend.resources.requests.cpu",
    ),
    (
        "gpus-by-field",
        {"decode": {"resources": {"requests": {"nvidia.com/gpu": 1}}}},
        "spec.decode.resources.requests[nvidia.com/gpu]",
    ),
    ("gpus-by-field", {"decode": {"devices": {"nvidia.com/gpu": 1}}}, "spec.decode.devices[nvidia.com/gpu]"),
    ("device-names", {"decode": {"devices": {"efa": 1}}}, "spec.decode.devices.efa"),
    (
        "no-context-parallel",
        {"runtime": {"engine": "vllm"}, "decode": {"parallelism": {"context": 2}}},
        "spec.decode.parallelism.context",
    ),
    (
        "no-context-parallel",
        {"runtime": {"engine": "sglang"}, "prefill": {"parallelism": {"context": 2}}},
        "spec.prefill.parallelism.context",
    ),
    (
        "vllm-experts-on-all",
        {"runtime": {"engine": "vllm"}, "decode": {"parallelism": {"tensor": 8, "expert": 2}}},
        "spec.decode.parallelism.expert",
    ),
    (
        "mocker-not-enforced",
        {"runtime": {"engine": "mocker"}, "verification": {"mode": "Enforce"}},
        "spec.verification.mode",
    ),
]

UNSUPPORTED: list[tuple[str, dict[str, Any]]] = [
    ("transfer.method", {"transfer": {"method": "MPI"}}),
    ("transfer.nixlBackend", {"transfer": {"nixlBackend": "LIBFABRIC"}}),
    ("transfer.maxTokensInBuffer", {"transfer": {"maxTokensInBuffer": 8192}}),
    *(
        row
        for role in ("prefill", "decode")
        for row in (
            (f"{role}.gpusPerNode", {role: {"gpusPerNode": 1}}),
            (f"{role}.parallelism.tensor", {role: {"parallelism": {"tensor": 2}}}),
            (f"{role}.parallelism.pipeline", {role: {"parallelism": {"pipeline": 2}}}),
            (f"{role}.parallelism.context", {role: {"parallelism": {"context": 2}}}),
            (f"{role}.parallelism.expert", {role: {"parallelism": {"tensor": 2, "expert": 2}}}),
        )
    ),
    ("frontend.routerMode", {"frontend": {"routerMode": "least-loaded"}}),
    ("transfer.kvbm", {"transfer": {"kvbm": {"nixlBackends": {"GDS": True}}}}),
    *(
        (f"{role}.nodesPerReplica", {"runtime": {"engine": "mocker"}, role: {"nodesPerReplica": 2}})
        for role in ("prefill", "decode")
    ),
]

ROWS = (*DYNAMO_TABLE, *(row for table in OF_ENGINE.values() for row in table))

GOOD: list[dict[str, Any]] = [
    {},
    {"runtime": {}},
    {"prefill": {"devices": {"example.com/nic": 1}}, "placement": {"topologyKey": "zone", "required": False}},
    {"security": {"mode": "IpcLock"}},
    {"discovery": {"backend": "etcd"}},
    {"discovery": {"etcd": {}, "nats": {}}},
    {"discovery": {"etcd": {"managed": False, "endpoints": ["http://e:2379"]}, "nats": {"replicas": 3}}},
    {"discovery": {"etcd": {"managed": True, "replicas": 3, "storage": {"size": "1Gi"}}}},
    {"computeDomain": {}},
    {"scaling": {}},
    {"scaling": {"decode": {"minReplicas": 0, "maxReplicas": 4}}},
    {"computeDomain": {"enabled": True, "name": "mine"}},
    {"model": claim("")},
    {"model": claim("llama..3/instruct")},
    {"platform": "local", "transfer": {"method": "NIXL", "nixlBackend": "UCX", "timeoutSeconds": 5}},
    {"prefill": {"gpusPerNode": 0, "devices": {}, "parallelism": {"tensor": 1}}, "decode": {"replicas": 0}},
    {"frontend": {"routerMode": "random", "port": 8080, "replicas": 0}},
    {"frontend": {"routerMode": "kv"}, "localPrefill": {"prefixHit": {"maxNewTokens": 64}}},
    {"security": {"mode": "Restricted"}, "rollout": {"strategy": "Recreate"}},
    {"security": {"mode": "Platform"}, "decode": template(hostNetwork=True)},
    {"env": env(("FI_EFA_ENABLE_SHM_TRANSFER", "0"), ("TRTLLM_NIXL_KVCACHE_BACKEND", "LIBFABRIC"))},
    {"env": env(("DYN_KVBM_NIXL_BACKEND_UCX", "on"), ("DYN_KVBM_NIXL_BACKEND_UCX_DEVICE", "mlx5_0"))},
    {"env": env(("TOKENIZERS_PARALLELISM", "false"), ("EMPTY_TOKEN", ""))},
    {"env": [{"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}}]},
    {"decode": {"env": env(("NIXL_PLUGIN_DIR", PLUGINS))}},
    {"prefill": {"env": env(("A", "1"))}, "decode": {"env": env(("A", "2"))}, "env": env(("A", "3"))},
    {"placement": {"nodeSelector": {"a": "b"}, "tolerations": [{"operator": "Exists"}, {"key": "a"}]}},
    {"prefill": {"resources": {"requests": {"cpu": "500m"}, "limits": {"cpu": 1, "memory": "2Gi"}}}},
    {
        "decode": {
            "podTemplate": {
                "metadata": {"labels": {"team": "search"}, "annotations": {"a/b": "c"}},
                "spec": {
                    "containers": [{"name": "worker", "env": env(("A", "1"))}],
                    "priorityClassName": "high",
                },
            }
        }
    },
    {"serviceAccountName": "own", "runtime": {"engine": "reference", "version": "1.6.1", "image": "a/b:1"}},
    {"runtime": {"engine": "mocker"}},
    {"runtime": {"engine": "vllm"}, "decode": {"parallelism": {"tensor": 8, "expert": 8}}},
    {"runtime": {"engine": "sglang"}, "decode": {"parallelism": {"tensor": 8, "expert": 2}}},
]


@pytest.mark.parametrize(("rule", "spec", "field"), FAULTS, ids=[f"{row[0]}: {row[2]}" for row in FAULTS])
def test_rule_finds_its_fault(rule: str, spec: dict[str, Any], field: str) -> None:
    hits = [problem for problem in found(spec) if problem.rule == rule]
    assert [problem.field for problem in hits] == [field]
    assert all(problem.fault and problem.remedy for problem in hits)


def test_every_rule_has_a_fault_in_the_table() -> None:
    tried = {row[0] for row in FAULTS} | {"not-supported-yet"}
    assert tried == {rule.id for rule in RULES}


@pytest.mark.parametrize(("field", "spec"), UNSUPPORTED, ids=[row[0] for row in UNSUPPORTED])
def test_what_is_not_built_is_refused(field: str, spec: dict[str, Any]) -> None:
    hits = {each.field: each for each in found(spec) if each.rule == "not-supported-yet"}
    assert hits[f"spec.{field}"].fault.startswith("not supported yet: ")


def test_every_row_of_what_is_not_built_is_tried() -> None:
    modelled = {".".join(map(to_camel, row.path.split("."))) for row in ROWS}
    assert {row[0] for row in UNSUPPORTED} == modelled


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path)
def test_rows_name_real_fields(row: Any) -> None:
    model: Any = DisaggDeploymentSpec
    for part in row.path.split("."):
        field = model.model_fields[part]
        arguments = getattr(field.annotation, "__args__", (field.annotation,))
        model = arguments[0]


@pytest.mark.parametrize("spec", GOOD, ids=lambda spec: ",".join(spec) or "minimal")
def test_good_resources_are_left_alone(spec: dict[str, Any]) -> None:
    assert found(spec) == ()


def test_a_plugin_folder_on_both_roles_is_fine_for_other_engines() -> None:
    spec = {"runtime": {"engine": "vllm"}, "env": env(("NIXL_PLUGIN_DIR", "/opt/nixl/plugins"))}
    assert found(spec) == ()


def test_remedies_name_the_value_that_is_in_the_way() -> None:
    (vain,) = found({"verification": {"canary": False, "promptTokens": 64}})
    assert "or leave out canary: false" in str(vain)
    (plugin,) = found({"transfer": {"nixlBackend": "LIBFABRIC"}})
    assert "Write UCX: the reference engine's image holds no other plugin" in str(plugin)


def test_remedies_say_what_to_write_today() -> None:
    by_field = {each.field: each.remedy for each in found({"frontend": {"routerMode": "least-loaded"}})}
    assert by_field["spec.frontend.routerMode"] == "Write round-robin or random or kv"


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.unsafe], ids=lambda rule: rule.id)
def test_unsafe_rules_can_be_overridden_and_say_so(rule: Any) -> None:
    spec = next(row[1] for row in FAULTS if row[0] == rule.id)
    (problem, *_) = (each for each in found(spec) if each.rule == rule.id)
    assert f"name {rule.id} in spec.security.allowUnsafe" in problem.remedy
    security = {**spec.get("security", {}), "allowUnsafe": [rule.id]}
    assert found({**spec, "security": security}) == ()


def test_rules_have_unique_ids_and_sources() -> None:
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(rule.source for rule in RULES)


def test_broken_templates_do_not_break_the_rules() -> None:
    odd: list[Any] = [None, 5, "x", [], {}, [None], [{"name": 3, "env": [None, {"name": 5}]}], {"a": 1}]
    for value in odd:
        template_spec = {"containers": value, "volumes": value, "initContainers": value}
        for metadata in ({"labels": value}, value):
            pod = {"metadata": metadata, "spec": template_spec}
            found({"security": {"mode": "Restricted"}, "decode": {"podTemplate": pod}})
        found({"decode": {"podTemplate": {"spec": value}}})
