"""Rules about whole plans: each finds its fault, can be acted on, and leaves what is legal alone."""

from dataclasses import replace
from typing import Any

import pytest

from disagg_operator.api import admission
from disagg_operator.api.admission.rule import Severity
from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts, ExistingDomain
from disagg_operator.plan.installation import HostAccess, Installation
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rules import RULES
from disagg_operator.platforms.catalogue import builtin
from unit.deployments import deployment_of

P5 = "aws-p5.48xlarge"
EFA = "vpc.amazonaws.com/efa"
NVL72 = {"gpusPerNode": 4, "parallelism": {"tensor": 4}}
P6E = "aws-p6e-gb200.36xlarge"
NVL = "gb200-nvl72"
OLDEST = {
    "runtime": {"version": "0.4.1", "image": "own:1"},
    "discovery": {"etcd": {"endpoints": ["http://etcd:2379"]}, "nats": {"server": "nats://nats:4222"}},
}
VLLM: dict[str, Any] = {"runtime": {"engine": "vllm"}}
OLD_VLLM = {**OLDEST, "runtime": {"engine": "vllm", "version": "0.7.1"}}
SGLANG: dict[str, Any] = {"runtime": {"engine": "sglang"}}
TRANSCEIVER = "engineConfig.cache_transceiver_config"
KV = "engineConfig.kv_cache_config"
MTP = {"decoding_type": "MTP", "num_nextn_predict_layers": 1}
RC19 = {"runtime": {"version": "1.3.1"}}
NVLINK_OFF = {"name": "worker", "env": [{"name": "NCCL_MNNVL_ENABLE", "value": "0"}]}
CLAIMED = {"name": "channel", "resourceClaimTemplateName": "demo-compute-domain-channel"}
CLAIM = {"name": "nic", "resourceClaimTemplateName": "nics"}
SEEN = {"compute-domain-unchanged": ClusterFacts(domain=ExistingDomain("demo-compute-domain-channel", 9))}
HOST_SDK = [{"name": "sdk", "hostPath": {"path": "/opt/amazon/efa"}}]
HOST_MOUNTED = {"name": "host-sdk", "like": P5, "mounts": [
    {"name": "sdk", "path": "/opt/amazon/efa", "host_path": "/opt/amazon/efa", "reason": "r", "source": "s"}
]}  # fmt: skip
SHM = "FI_EFA_ENABLE_SHM_TRANSFER"
BY_US = {"reason": "r", "source": "s"}
WITH_SHM = {"name": "shared-memory", "like": P5, "environment": [{"name": SHM, "value": "1", **BY_US}]}
BARE = {"name": "bare", "like": "efa", "environment": [{"name": SHM, "$patch": "delete"}]}
ON_BARE = {"name": "no-variables", "like": P5, "fabrics": ["bare"]}
INSTALLATION = Installation(
    "worker:test",
    catalogue=builtin().with_profiles(
        {"host-sdk": HOST_MOUNTED, "shared-memory": WITH_SHM, "no-variables": ON_BARE}, {"bare": BARE}
    ),
)

LIMITED = replace(INSTALLATION, host=HostAccess(limited=True))


def transceiver(**fields: Any) -> dict[str, Any]:
    return {"engineConfig": {"cache_transceiver_config": fields}}


def kv(**fields: Any) -> dict[str, Any]:
    return {"engineConfig": {"kv_cache_config": fields}}


def with_gpus(container: str, count: str | int) -> dict[str, Any]:
    return {"name": container, "resources": {"limits": {"nvidia.com/gpu": count}}}


def claiming(name: str) -> dict[str, Any]:
    return {"name": "worker", "resources": {"claims": [{"name": name}]}}


def profile(name: str, value: str) -> dict[str, Any]:
    return {"platformProfile": {"environment": [{"name": name, "value": value}]}}


def env(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def resource(platform: str, spec: dict[str, Any]) -> dict[str, Any]:
    whole_nodes = {"prefill": NVL72, "decode": NVL72} if platform in (NVL, P6E, "gke-a4x") else {}
    return deployment_of(
        {
            "platform": platform,
            **whole_nodes,
            **spec,
        }
    )


def judged(
    platform: str,
    spec: dict[str, Any],
    cluster: ClusterFacts = UNSEEN,
    installation: Installation = INSTALLATION,
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return what is refused and what is warned about."""
    try:
        return (), plan(accept(resource(platform, spec)), installation, cluster).warnings
    except Refusal as refusal:
        return refusal.problems, ()


Row = tuple[str, str, dict[str, Any], str]

KV_MODE = {"frontend": {"routerMode": "kv"}}
HIT = {"prefixHit": {"maxNewTokens": 100}}
REFERENCE = {
    "runtime": {"engine": "reference"},
    "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
}

FAULTS: list[Row] = [
    (
        "engine-argument-derived",
        P5,
        {**VLLM, "decode": {"engineConfig": {"tensor_parallel_size": 2}}},
        "spec.decode.engineConfig.tensor-parallel-size",
    ),
    (
        "engine-argument-derived",
        P5,
        {**SGLANG, "prefill": {"engineConfig": {"host": "0.0.0.0"}}},  # noqa: S104 - refused
        "spec.prefill.engineConfig.host",
    ),
    (
        "engine-argument-known",
        P5,
        {**VLLM, "prefill": {"engineConfig": {"max-modell-len": 4096}}},
        "spec.prefill.engineConfig.max-modell-len",
    ),
    (
        "engine-argument-known",
        P5,
        {**SGLANG, "decode": {"engineConfig": {"torchao-config": "int4wo"}}},
        "spec.decode.engineConfig.torchao-config",
    ),
    (
        "engine-switch",
        P5,
        {**SGLANG, "decode": {"engineConfig": {"trust-remote-code": "yes"}}},
        "spec.decode.engineConfig.trust-remote-code",
    ),
    (
        "vllm-connector-derived",
        P5,
        {**VLLM, "decode": {"engineConfig": {"kv-transfer-config": {"kv_role": "kv_both"}}}},
        "spec.decode.engineConfig.kv-transfer-config.kv_role",
    ),
    (
        "vllm-connector-derived",
        P5,
        {**VLLM, "prefill": {"engineConfig": {"kv-transfer-config": None}}},
        "spec.prefill.engineConfig.kv-transfer-config",
    ),
    ("vllm-connector-variable", P5, {**VLLM, "env": env(("DYN_CONNECTOR", "nixl"))}, "spec.env"),
    (
        "nixl-backend-agrees",
        P5,
        {**SGLANG, "decode": {"env": env(("SGLANG_DISAGGREGATION_NIXL_BACKEND", "UCX"))}},
        "spec.decode.env",
    ),
    (
        "engine-kv-dtype-equal",
        P5,
        {**VLLM, "prefill": {"engineConfig": {"kv-cache-dtype": "fp8"}}},
        "spec.decode.engineConfig.kv-cache-dtype",
    ),
    (
        "engine-tensor-sizes",
        P5,
        {**VLLM, "prefill": {"parallelism": {"tensor": 4}}, "decode": {"parallelism": {"tensor": 6}}},
        "spec.decode.parallelism.tensor",
    ),
    (
        "engine-tensor-sizes",
        "infiniband",
        {**OLD_VLLM, "prefill": {"parallelism": {"tensor": 4}}, "decode": {"parallelism": {"tensor": 2}}},
        "spec.decode.parallelism.tensor",
    ),
    (
        "vllm-no-pipeline",
        P5,
        {**VLLM, "prefill": {"parallelism": {"pipeline": 2}}},
        "spec.prefill.parallelism.pipeline",
    ),
    (
        "sglang-pipeline-fits",
        P5,
        {**SGLANG, "decode": {"parallelism": {"pipeline": 2}}},
        "spec.decode.parallelism.pipeline",
    ),
    (
        "sglang-data-parallel",
        P5,
        {**SGLANG, "decode": {"engineConfig": {"dp-size": 2}}},
        "spec.decode.engineConfig.dp-size",
    ),
    (
        "engine-transfer-limit",
        P5,
        {**VLLM, "transfer": {"timeoutSeconds": 90}},
        "spec.transfer.timeoutSeconds",
    ),
    ("engine-fabric-memory", NVL, SGLANG, "spec.runtime.engine"),
    (
        "local-prefill-of-short-prompts",
        P5,
        {"localPrefill": {"maxPromptTokens": 64}},
        "spec.localPrefill.maxPromptTokens",
    ),
    (
        "local-prefill-in-release",
        P5,
        {"runtime": {"version": "1.3.1"}, **KV_MODE, "localPrefill": HIT},
        "spec.localPrefill.prefixHit.maxNewTokens",
    ),
    ("local-prefill-needs-kv", P5, {"localPrefill": HIT}, "spec.localPrefill.prefixHit"),
    (
        "kv-routing-needs-reuse",
        P5,
        {**KV_MODE, "prefill": kv(enable_block_reuse=False)},
        "spec.prefill.engineConfig.kv_cache_config.enable_block_reuse",
    ),
    ("kv-routing-shares-blocks", P5, KV_MODE, "spec.frontend.routerMode"),
    (
        "canary-moves-kv",
        "generic",
        {**REFERENCE, "localPrefill": {"maxPromptTokens": 64}, "verification": {"promptTokens": 64}},
        "spec.verification.promptTokens",
    ),
    ("gpus-within-machine", P5, {"decode": {"parallelism": {"tensor": 16}}}, "spec.decode.gpusPerNode"),
    (
        "gpus-equal-in-template",
        P5,
        {
            "prefill": {
                "parallelism": {"tensor": 4},
                "podTemplate": {"spec": {"containers": [with_gpus("worker", "2")]}},
            }
        },
        "spec.prefill.podTemplate.spec.containers[0].resources.limits[nvidia.com/gpu]",
    ),
    (
        "nodes-of-architecture",
        NVL,
        {"placement": {"nodeSelector": {"kubernetes.io/arch": "amd64"}}},
        "spec.placement.nodeSelector[kubernetes.io/arch]",
    ),
    (
        "image-of-architecture",
        NVL,
        {"runtime": {"image": "own/arm64/x:1.1.1-efa-amd64"}},
        "spec.runtime.image",
    ),
    (
        "claim-kept",
        NVL,
        {"decode": {**NVL72, "podTemplate": {"spec": {"resourceClaims": None}}}},
        "spec.decode.podTemplate.spec.resourceClaims",
    ),
    (
        "decode-holds-prompt",
        P5,
        {
            "prefill": {"engineConfig": {"max_seq_len": 8192}},
            "decode": {"engineConfig": {"max_seq_len": 4096}},
        },
        "spec.decode.engineConfig.max_seq_len",
    ),
    ("devices-within-machine", P5, {"prefill": {"devices": {EFA: 33}}}, f"spec.prefill.devices[{EFA}]"),
    (
        "devices-for-all-gpus",
        "gke-a4",
        {"prefill": {"parallelism": {"tensor": 8}}, "decode": {"parallelism": {"tensor": 4}}},
        "spec.decode.gpusPerNode",
    ),
    ("devices-for-all-gpus", P5, {"prefill": {"devices": {EFA: 32}}}, "spec.prefill.gpusPerNode"),
    ("devices-of-machine", P5, {"decode": {"devices": {"rdma/ib": 1}}}, "spec.decode.devices[rdma/ib]"),
    (
        "libfabric-in-image",
        P5,
        {"transfer": {"nixlBackend": "LIBFABRIC"}, "runtime": {"image": "own:1"}},
        "spec.runtime.image",
    ),
    ("ucx-tls-cuda", "generic", {"env": env(("UCX_TLS", "tcp"))}, "spec.env"),
    ("ucx-tls-cuda", P5, {"decode": {"env": env(("UCX_TLS", "srd,sm"))}}, "spec.decode.env"),
    ("ucx-tls-cuda", P5, {"env": env(("UCX_TLS", "^cuda"))}, "spec.env"),
    ("ucx-tls-tcp", "generic", {"env": env(("UCX_TLS", "self,sm,cuda_copy"))}, "spec.env"),
    (
        "ucx-tls-tcp",
        "local",
        {**REFERENCE, "decode": {"env": env(("UCX_TLS", "self,sm"))}},
        "spec.decode.env",
    ),
    ("ucx-tls-tcp", "generic", {"prefill": {"env": env(("UCX_TLS", "^tcp"))}}, "spec.prefill.env"),
    ("ucx-tls-as-promised", "infiniband", {"env": env(("UCX_TLS", "tcp,cuda_copy"))}, "spec.env"),
    ("ucx-tls-as-promised", "infiniband", {**REFERENCE, "env": env(("UCX_TLS", "cuda_ipc,tcp"))}, "spec.env"),
    ("ucx-tls-as-promised", P5, {"decode": {"env": env(("UCX_TLS", "^srd"))}}, "spec.decode.env"),
    (
        "ucx-tls-as-promised-enforced",
        "infiniband",
        {"env": env(("UCX_TLS", "tcp,cuda_copy")), "verification": {"mode": "Enforce"}},
        "spec.env",
    ),
    ("mnnvl-needs-cuda-ipc", NVL, {"env": env(("UCX_TLS", "^cuda_ipc"))}, "spec.env"),
    ("mnnvl-needs-cuda-ipc", NVL, {"env": env(("UCX_TLS", "rc,cuda_copy"))}, "spec.env"),
    ("efa-provider", P5, {"env": env(("FI_PROVIDER", "tcp"))}, "spec.env"),
    ("efa-shared-memory-off", P5, profile(SHM, "1"), f"spec.platformProfile.environment[{SHM}]"),
    ("efa-shared-memory-off", "shared-memory", {}, "spec.platform"),
    ("efa-shared-memory-off", "no-variables", {}, "spec.platform"),
    ("efa-device-rdma", P5, {"env": env(("FI_EFA_USE_DEVICE_RDMA", "0"))}, "spec.env"),
    ("efa-sdk-in-image", P5, {"runtime": {"image": "own:1"}}, "spec.runtime.image"),
    ("efa-sdk-in-image", P5, {"runtime": {"version": "0.9.1"}}, "spec.runtime.image"),
    ("nixl-backend-once", P5, {"decode": {"env": env(("NIXL_BACKEND", "UCX"))}}, "spec.decode.env"),
    ("devices-of-fabric", P5, {"decode": {"devices": {EFA: 0}}}, f"spec.decode.devices[{EFA}]"),
    (
        "devices-without-gpus",
        "infiniband",
        {**REFERENCE, "decode": {"devices": {"rdma/ib": 1}}},
        "spec.prefill.devices",
    ),
    ("efa-library-first", P5, {"prefill": {"env": env(("LD_LIBRARY_PATH", "/lib"))}}, "spec.prefill.env"),
    (
        "nixl-backend-agrees",
        P5,
        {"env": env(("TRTLLM_NIXL_KVCACHE_BACKEND", "LIBFABRIC"))},
        "spec.env",
    ),
    ("efa-host-sdk", "host-sdk", {"transfer": {"nixlBackend": "LIBFABRIC"}}, "spec.transfer.nixlBackend"),
    (
        "efa-host-sdk",
        P5,
        {
            "transfer": {"nixlBackend": "LIBFABRIC"},
            "decode": {"podTemplate": {"spec": {"volumes": HOST_SDK}}},
        },
        "spec.decode.podTemplate.spec.volumes[0].hostPath",
    ),
    ("efa-socket-names", P5, {"env": env(("NCCL_SOCKET_IFNAME", "eth0"))}, "spec.env"),
    ("efa-verbs-settings", P5, {"env": env(("RDMAV_FORK_SAFE", "1"))}, "spec.env"),
    (
        "efa-host-adapters",
        P5,
        {
            "prefill": {
                "podTemplate": {"spec": {"volumes": [{"name": "d", "hostPath": {"path": "/dev/infiniband"}}]}}
            }
        },
        "spec.prefill.podTemplate.spec.volumes[0].hostPath",
    ),
    (
        "nixl-hybrid-model",
        P5,
        {"model": {"name": "m", "source": {"huggingFace": {"repository": "nvidia/Nemotron-H-8B"}}}},
        "spec.transfer.method",
    ),
    ("nccl-on-fabric", NVL, {"env": env(("NCCL_IB_DISABLE", "1"))}, "spec.env"),
    ("prefill-plugin-folder", P5, {"prefill": {"env": env(("NIXL_PLUGIN_DIR", "/p"))}}, "spec.prefill.env"),
    ("privilege-proven", P5, {"security": {"mode": "IpcLock"}}, "spec.security.mode"),
    ("privilege-enough", P5, {"security": {"mode": "Restricted"}}, "spec.security.mode"),
    ("privilege-least", "generic", {"security": {"mode": "Privileged"}}, "spec.security.mode"),
    (
        "host-access",
        "generic",
        {"decode": {"podTemplate": {"spec": {"hostPID": True}}}},
        "spec.decode.podTemplate.spec.hostPID",
    ),
    (
        "host-paths",
        "generic",
        {"decode": {"podTemplate": {"spec": {"volumes": [{"name": "a", "hostPath": {"path": "/etc"}}]}}}},
        "spec.decode.podTemplate.spec.volumes[0].hostPath",
    ),
    ("host-security-mode", "generic", {"security": {"mode": "Privileged"}}, "spec.security.mode"),
    (
        "compute-domain-whole-nodes",
        NVL,
        {"prefill": {"parallelism": {"tensor": 2}}},
        "spec.prefill.gpusPerNode",
    ),
    ("compute-domain-one-rack", NVL, {"decode": {**NVL72, "replicas": 18}}, "spec.decode.replicas"),
    ("compute-domain-one-rack", NVL, {"prefill": {**NVL72, "replicas": 18}}, "spec.prefill.replicas"),
    ("compute-domain-one-rack", P6E, {"decode": {**NVL72, "replicas": 18}}, "spec.decode.replicas"),
    (
        "compute-domain-one-rack",
        P6E,
        {
            "decode": {"nodesPerReplica": 19, "parallelism": {"tensor": 76}},
            "placement": {"topologyKey": "topology.kubernetes.io/zone"},
        },
        "spec.decode.nodesPerReplica",
    ),
    ("compute-domain-nvlink-on", NVL, {"env": env(("NCCL_MNNVL_ENABLE", "0"))}, "spec.env"),
    (
        "compute-domain-nvlink-on",
        NVL,
        {"decode": {**NVL72, "env": env(("NCCL_CUMEM_ENABLE", "0"))}},
        "spec.decode.env",
    ),
    (
        "compute-domain-nvlink-on",
        NVL,
        {"decode": {**NVL72, "podTemplate": {"spec": {"containers": [NVLINK_OFF]}}}},
        "spec.decode.podTemplate.spec.containers[0].env[0]",
    ),
    (
        "compute-domain-claimed-once",
        NVL,
        {"prefill": {**NVL72, "podTemplate": {"spec": {"resourceClaims": [CLAIMED]}}}},
        "spec.prefill.podTemplate.spec.resourceClaims[0]",
    ),
    ("compute-domain-settings", NVL, {"env": env(("NCCL_NVLS_ENABLE", "0"))}, "spec.env"),
    (
        "compute-domain-settings",
        NVL,
        {"prefill": {**NVL72, "env": env(("NVIDIA_GDRCOPY", "0"))}},
        "spec.prefill.env",
    ),
    ("compute-domain-left-out", NVL, {"computeDomain": {"enabled": False}}, "spec.computeDomain.enabled"),
    ("compute-domain-number-fits", NVL, {"computeDomain": {"numNodes": 3}}, "spec.computeDomain.numNodes"),
    (
        "claim-one-source",
        P5,
        {"prefill": {"podTemplate": {"spec": {"resourceClaims": [{**CLAIM, "resourceClaimName": "mine"}]}}}},
        "spec.prefill.podTemplate.spec.resourceClaims[0]",
    ),
    (
        "claim-one-source",
        P5,
        {"frontend": {"podTemplate": {"spec": {"resourceClaims": [{"name": "nic"}]}}}},
        "spec.frontend.podTemplate.spec.resourceClaims[0]",
    ),
    (
        "claim-listed",
        P5,
        {"decode": {"podTemplate": {"spec": {"containers": [claiming("nic")]}}}},
        "spec.decode.podTemplate.spec.containers[0].resources.claims[0].name",
    ),
    (
        "pod-template-images",
        P5,
        {"decode": {"podTemplate": {"spec": {"containers": [{"name": "side"}]}}}},
        "spec.decode.podTemplate.spec.containers[0].image",
    ),
    (
        "pod-template-images",
        P5,
        {"frontend": {"podTemplate": {"spec": {"containers": [{"name": "worker"}]}}}},
        "spec.frontend.podTemplate.spec.containers[0].image",
    ),
    (
        "pod-template-images",
        P5,
        {"frontend": {"podTemplate": {"spec": {"initContainers": [{"name": "transport-agent"}]}}}},
        "spec.frontend.podTemplate.spec.initContainers[0].image",
    ),
    (
        "pod-template-volumes",
        P5,
        {"decode": {"podTemplate": {"spec": {"volumes": [{"name": "mine"}]}}}},
        "spec.decode.podTemplate.spec.volumes[0]",
    ),
    (
        "pod-template-volumes",
        P5,
        {"decode": {"podTemplate": {"spec": {"volumes": [{"name": "config", "emptyDir": {}}]}}}},
        "spec.decode.podTemplate.spec.volumes[0]",
    ),
    (
        "pod-template-mounts",
        P5,
        {
            "decode": {
                "podTemplate": {
                    "spec": {
                        "containers": [
                            {"name": "worker", "volumeMounts": [{"name": "no", "mountPath": "/x"}]},
                        ]
                    }
                }
            }
        },
        "spec.decode.podTemplate.spec.containers[0].volumeMounts[0].name",
    ),
    (
        "pod-template-one-name",
        P5,
        {"decode": {"podTemplate": {"spec": {"initContainers": [{"name": "worker", "image": "a"}]}}}},
        "spec.decode.podTemplate.spec.initContainers[0].name",
    ),
    (
        "pod-template-one-name",
        P5,
        {"decode": {"podTemplate": {"spec": {"containers": [{"name": "transport-agent", "image": "a"}]}}}},
        "spec.decode.podTemplate.spec.containers[0].name",
    ),
    (
        "variables-of-files",
        P5,
        {
            "decode": {
                "env": [
                    {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "no", "path": "p", "key": "k"}}}
                ]
            }
        },
        "spec.decode.env",
    ),
    (
        "files-fit",
        P5,
        {"decode": {"engineConfig": {"backend": "x", "a": "x" * 1_000_000}}},
        "spec.decode.engineConfig",
    ),
    (
        "files-fit",
        P5,
        {
            "prefill": {"engineConfig": {"backend": "x", "a": "x" * 500_000}},
            "decode": {"engineConfig": {"backend": "x", "a": "y" * 500_001}},
        },
        "spec.decode.engineConfig",
    ),
    (
        "pod-fits",
        P5,
        {"decode": {"env": [{"name": f"A{number}", "value": "x" * 32768} for number in range(17)]}},
        "spec.decode.env",
    ),
    ("compute-domain-unchanged", NVL, {}, "spec.decode.replicas"),
    ("compute-domain-unchanged", NVL, {"computeDomain": {"numNodes": 2}}, "spec.computeDomain.numNodes"),
    (
        "compute-domain-room-to-surge",
        NVL,
        {"decode": {**NVL72, "replicas": 15}},
        "spec.rollout.decode.maxSurge",
    ),
    ("transfer-method-doubtful", P5, {"transfer": {"method": "MPI"}}, "spec.transfer.method"),
    ("transfer-method-doubtful", P5, {"transfer": {"method": "MOONCAKE"}}, "spec.transfer.method"),
    ("transfer-method-doubtful", P5, {**OLDEST, "transfer": {"method": "NIXL"}}, "spec.transfer.method"),
    ("release-doubtful", P5, OLDEST, "spec.runtime.version"),
    (
        "transceiver-is-there",
        P5,
        {"decode": {"engineConfig": {"cache_transceiver_config": None}}},
        f"spec.decode.{TRANSCEIVER}",
    ),
    ("engine-keys-known", P5, {"decode": transceiver(typo=1)}, f"spec.decode.{TRANSCEIVER}.typo"),
    (
        "engine-keys-known",
        P5,
        {**RC19, "prefill": transceiver(enable_pipelined_transfer=True)},
        f"spec.prefill.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    (
        "engine-values",
        P5,
        {"prefill": transceiver(max_tokens_in_buffer=-32)},
        f"spec.prefill.{TRANSCEIVER}.max_tokens_in_buffer",
    ),
    (
        "engine-values",
        P5,
        {**RC19, "decode": transceiver(transceiver_runtime="auto")},
        f"spec.decode.{TRANSCEIVER}.transceiver_runtime",
    ),
    (
        "engine-values",
        P5,
        {"decode": transceiver(enable_pipelined_transfer="maybe")},
        f"spec.decode.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    (
        "transceiver-backend-agrees",
        P5,
        {"prefill": transceiver(backend="UCX")},
        f"spec.prefill.{TRANSCEIVER}.backend",
    ),
    (
        "transceiver-backend-agrees",
        P5,
        {"decode": transceiver(backend="DEFAULT")},
        f"spec.decode.{TRANSCEIVER}.backend",
    ),
    (
        "transceiver-backend-agrees",
        P5,
        {"decode": transceiver(backend=None)},
        f"spec.decode.{TRANSCEIVER}.backend",
    ),
    (
        "transceiver-fields-agree",
        P5,
        {"decode": transceiver(kv_transfer_timeout_ms=5000)},
        f"spec.decode.{TRANSCEIVER}.kv_transfer_timeout_ms",
    ),
    (
        "transceiver-fields-agree",
        P5,
        {"transfer": {"maxTokensInBuffer": 64}, "decode": transceiver(max_tokens_in_buffer=32)},
        f"spec.decode.{TRANSCEIVER}.max_tokens_in_buffer",
    ),
    (
        "buffer-of-whole-blocks",
        P5,
        {"transfer": {"maxTokensInBuffer": 100}},
        "spec.transfer.maxTokensInBuffer",
    ),
    (
        "buffer-of-whole-blocks",
        P5,
        {"prefill": transceiver(max_tokens_in_buffer=33)},
        f"spec.prefill.{TRANSCEIVER}.max_tokens_in_buffer",
    ),
    (
        "buffer-holds-prompt",
        P5,
        {"transfer": {"maxTokensInBuffer": 4096}, "prefill": {"engineConfig": {"max_seq_len": 8192}}},
        "spec.transfer.maxTokensInBuffer",
    ),
    (
        "buffer-holds-prompt",
        P5,
        {
            "prefill": {"engineConfig": {"max_seq_len": 8192, "max_num_tokens": 4096}},
            "decode": transceiver(max_tokens_in_buffer=2048),
        },
        f"spec.decode.{TRANSCEIVER}.max_tokens_in_buffer",
    ),
    ("buffer-holds-prompt", P5, {"transfer": {"maxTokensInBuffer": 64}}, "spec.transfer.maxTokensInBuffer"),
    (
        "python-runtime-needs-nixl",
        P5,
        {
            "transfer": {"method": "UCX"},
            "prefill": transceiver(transceiver_runtime="PYTHON"),
            "decode": transceiver(transceiver_runtime="CPP"),
        },
        f"spec.prefill.{TRANSCEIVER}.transceiver_runtime",
    ),
    (
        "pipelined-transfer-possible",
        P5,
        {"transfer": {"method": "UCX"}, "decode": transceiver(enable_pipelined_transfer=True)},
        f"spec.decode.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    (
        "pipelined-transfer-possible",
        P5,
        {"prefill": {"parallelism": {"pipeline": 2}}, "decode": transceiver(enable_pipelined_transfer=True)},
        f"spec.decode.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    (
        "sender-wait-within-timeout",
        P5,
        {"prefill": transceiver(kv_transfer_sender_future_timeout_ms=60001)},
        f"spec.prefill.{TRANSCEIVER}.kv_transfer_sender_future_timeout_ms",
    ),
    (
        "poll-within-timeout",
        P5,
        {"decode": transceiver(kv_transfer_poll_interval_ms=60001)},
        f"spec.decode.{TRANSCEIVER}.kv_transfer_poll_interval_ms",
    ),
    (
        "transfer-timeout-equal",
        P5,
        {"decode": transceiver(kv_transfer_timeout_ms=None)},
        f"spec.decode.{TRANSCEIVER}.kv_transfer_timeout_ms",
    ),
    (
        "transfer-timeout-set",
        P5,
        {
            "prefill": transceiver(kv_transfer_timeout_ms=None),
            "decode": {**transceiver(kv_transfer_timeout_ms=None), "replicas": 0},
        },
        f"spec.*.{TRANSCEIVER}.kv_transfer_timeout_ms",
    ),
    (
        "transfer-timeout-known",
        P5,
        {**OLDEST, "transfer": {"timeoutSeconds": 600}},
        "spec.transfer.timeoutSeconds",
    ),
    (
        "python-runtime-needs-timeout",
        P5,
        {
            "prefill": transceiver(transceiver_runtime="PYTHON", kv_transfer_timeout_ms=None),
            "decode": transceiver(transceiver_runtime="PYTHON"),
        },
        f"spec.prefill.{TRANSCEIVER}.kv_transfer_timeout_ms",
    ),
    (
        "grace-covers-transfer",
        P5,
        {"prefill": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 59}}}},
        "spec.prefill.podTemplate.spec.terminationGracePeriodSeconds",
    ),
    (
        "kv-dtype-equal",
        P5,
        {"prefill": kv(dtype="fp8"), "decode": kv(dtype="nvfp4")},
        f"spec.decode.{KV}.dtype",
    ),
    (
        "kv-dtype-on-both",
        P5,
        {"prefill": kv(dtype="fp8"), "decode": kv(dtype=None)},
        f"spec.decode.{KV}.dtype",
    ),
    (
        "kv-dtype-on-both",
        P5,
        {"decode": kv(dtype="fp8"), "prefill": kv(dtype="auto")},
        f"spec.prefill.{KV}.dtype",
    ),
    (
        "tokens-per-block-equal",
        P5,
        {"prefill": kv(tokens_per_block=64), "decode": kv(tokens_per_block=32)},
        f"spec.decode.{KV}.tokens_per_block",
    ),
    (
        "transceiver-runtime-equal",
        P5,
        {"prefill": transceiver(transceiver_runtime="CPP")},
        f"spec.decode.{TRANSCEIVER}.transceiver_runtime",
    ),
    (
        "parallelism-agrees",
        P5,
        {"decode": {"engineConfig": {"tensor_parallel_size": 4}}},
        "spec.decode.engineConfig.tensor_parallel_size",
    ),
    (
        "prefill-without-overlap",
        P5,
        {"prefill": {"engineConfig": {"disable_overlap_scheduler": False}}},
        "spec.prefill.engineConfig.disable_overlap_scheduler",
    ),
    (
        "prefill-without-overlap",
        P5,
        {"prefill": {"engineConfig": {"disable_overlap_scheduler": None}}},
        "spec.prefill.engineConfig.disable_overlap_scheduler",
    ),
    (
        "mtp-on-both",
        P5,
        {
            "decode": {"engineConfig": {"speculative_config": MTP}},
            "prefill": {"engineConfig": {"speculative_config": None}},
        },
        "spec.prefill.engineConfig.speculative_config",
    ),
    (
        "speculation-on-both",
        P5,
        {"prefill": {"engineConfig": {"speculative_config": {"decoding_type": "Eagle3"}}}},
        "spec.decode.engineConfig.speculative_config",
    ),
    (
        "speculation-equal",
        P5,
        {
            "prefill": {"engineConfig": {"speculative_config": MTP}},
            "decode": {"engineConfig": {"speculative_config": {**MTP, "num_nextn_predict_layers": 3}}},
        },
        "spec.decode.engineConfig.speculative_config.num_nextn_predict_layers",
    ),
    (
        "speculation-equal",
        P5,
        {
            "prefill": {"engineConfig": {"speculative_config": MTP}},
            "decode": {"engineConfig": {"speculative_config": {"decoding_type": "Eagle3"}}},
        },
        "spec.decode.engineConfig.speculative_config",
    ),
    (
        "one-beam",
        P5,
        {"decode": {"engineConfig": {"max_beam_width": 4}}},
        "spec.decode.engineConfig.max_beam_width",
    ),
    (
        "decode-context-parallel",
        P5,
        {"decode": {"parallelism": {"context": 2}}},
        "spec.decode.parallelism.context",
    ),
    (
        "flashinfer-equal-tensor",
        P5,
        {
            "prefill": {"engineConfig": {"attn_backend": "FlashInfer"}},
            "decode": {"parallelism": {"tensor": 2}},
        },
        "spec.prefill.engineConfig.attn_backend",
    ),
    (
        "graphs-fit-tokens",
        P5,
        {
            "decode": {
                "engineConfig": {"speculative_config": MTP, "max_batch_size": 256, "max_num_tokens": 511}
            }
        },
        "spec.decode.engineConfig.max_num_tokens",
    ),
    (
        "graphs-fit-tokens",
        P5,
        {
            "decode": {
                "engineConfig": {
                    "speculative_config": MTP,
                    "cuda_graph_config": {"batch_sizes": [1, 64]},
                    "max_num_tokens": 127,
                }
            }
        },
        "spec.decode.engineConfig.max_num_tokens",
    ),
    (
        "pipelined-transfer-possible",
        P5,
        {"decode": transceiver(enable_pipelined_transfer=True)},
        f"spec.decode.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    (
        "pipelined-transfer-possible",
        P5,
        {
            "prefill": {"engineConfig": {"enable_chunked_prefill": True}},
            "decode": transceiver(enable_pipelined_transfer=True, kv_cache_bounce_size_mb=64),
        },
        f"spec.decode.{TRANSCEIVER}.enable_pipelined_transfer",
    ),
    ("no-block-reuse", P5, {"prefill": kv(enable_block_reuse=True)}, f"spec.prefill.{KV}.enable_block_reuse"),
    ("kvbm-services", P5, {"transfer": {"kvbm": {"cpuCacheGb": 100}}}, "spec.transfer.kvbm"),
    ("kvbm-tiers", P5, {"transfer": {"kvbm": {"nixlBackends": {"GDS": True}}}}, "spec.transfer.kvbm"),
    (
        "kvbm-plugin-name",
        P5,
        {"transfer": {"kvbm": {"cpuCacheGb": 100, "nixlBackends": {"GDS_MT": True}}}},
        "spec.transfer.kvbm.nixlBackends",
    ),
    ("kvbm-plugin-name", P5, {"env": env(("DYN_KVBM_NIXL_BACKEND_OBJ_BUCKET", "b"))}, "spec.env"),
    (
        "kvbm-tiers",
        P5,
        {"transfer": {"kvbm": {"cpuCacheGb": 100, "diskCacheGb": 50}}},
        "spec.transfer.kvbm.diskCacheGb",
    ),
    ("dynamo-variable-known", P5, {"env": env(("DYN_LOGGING_JSON", "true"))}, "spec.env[0]"),
    (
        "dynamo-variable-known",
        P5,
        {**RC19, "prefill": {"env": env(("DYN_LOG", "debug"), ("DYN_TRTLLM_PUBLISH_METRICS", "true"))}},
        "spec.prefill.env[1]",
    ),
    (
        "dynamo-variable-known",
        P5,
        {"frontend": {"env": env(("DYN_ROUTER_RESET_STATES", "true"))}},
        "spec.frontend.env[0]",
    ),
    ("allow-unsafe-known", P5, {"security": {"allowUnsafe": ["nothing"]}}, "spec.security.allowUnsafe[0]"),
    (
        "allow-unsafe-known",
        P5,
        {"security": {"allowUnsafe": ["model-one-source"]}},
        "spec.security.allowUnsafe[0]",
    ),
]

LEGAL: list[tuple[str, dict[str, Any]]] = [
    (P5, {"prefill": {"parallelism": {"tensor": 2}}, "decode": {"parallelism": {"tensor": 8}}}),
    (P5, {"prefill": {"parallelism": {"tensor": 4, "pipeline": 2}}}),
    (P5, {"env": env(("UCX_TLS", "srd,cuda_copy,cuda_ipc,sm"))}),
    (P5, {"env": env(("DYN_LOG", "debug"), ("DYN_METRICS_TTFT_MAX", "60"), ("MY_DYN_LOGS", "1"))}),
    (P5, {"frontend": {"env": env(("DYN_ROUTER_TEMPERATURE", "0.5"), ("DYN_HTTP_BODY_LIMIT_MB", "45"))}}),
    (P5, {"env": env(("UCX_TLS", "^gdr_copy"))}),
    (P5, {"env": env(("UCX_TLS", "all"), ("NCCL_SOCKET_IFNAME", "^lo,docker,veth"))}),
    (P5, {"env": env(("LD_LIBRARY_PATH", "/opt/amazon/efa/lib:/mine"), ("FI_PROVIDER", "efa"))}),
    (P5, {"prefill": {"devices": {EFA: 4}}, "decode": {"devices": {EFA: 4}}}),
    (P5, {"transfer": {"nixlBackend": "LIBFABRIC"}}),
    (P5, {"transfer": {"method": "UCX"}}),
    (P5, {"transfer": {"method": "UCX"}, "env": env(("NIXL_BACKEND", "UCX"))}),
    (P5, profile(SHM, "0")),
    ("host-sdk", {"runtime": {"image": "own:1"}}),
    (P5, {"model": {"name": "nemotron-4", "source": {"huggingFace": {"repository": "org/nemotron-4"}}}}),
    (P5, {"transfer": {"maxTokensInBuffer": 0}}),
    (P5, {"prefill": transceiver(max_tokens_in_buffer=0), "decode": transceiver(max_tokens_in_buffer=512)}),
    (P5, {"transfer": {"maxTokensInBuffer": 8192}, "prefill": {"engineConfig": {"max_seq_len": 8192}}}),
    (P5, {"transfer": {"maxTokensInBuffer": 8192}, "decode": {"engineConfig": {"max_seq_len": 16384}}}),
    (
        P5,
        {
            "transfer": {"maxTokensInBuffer": 4096},
            "prefill": {"engineConfig": {"max_seq_len": 8192, "max_num_tokens": 4096}},
        },
    ),
    (P5, {"prefill": kv(dtype="fp8"), "decode": kv(dtype="fp8")}),
    (P5, {"prefill": kv(dtype="auto")}),
    (P5, {"prefill": kv(tokens_per_block=32)}),
    (P5, {"prefill": kv(tokens_per_block=64), "decode": kv(tokens_per_block=64)}),
    (P5, {"prefill": transceiver(transceiver_runtime="auto", backend="NIXL", kv_transfer_timeout_ms=60000)}),
    (P5, {**RC19, "decode": transceiver(transceiver_runtime="CPP")}),
    (
        P5,
        {
            "prefill": {
                "engineConfig": {
                    "cache_transceiver_config": {"transceiver_runtime": "PYTHON"},
                    "enable_chunked_prefill": True,
                }
            },
            "decode": transceiver(transceiver_runtime="PYTHON", enable_pipelined_transfer=True),
        },
    ),
    (
        P5,
        {
            "prefill": {"engineConfig": {"speculative_config": MTP, "cuda_graph_config": None}},
            "decode": {"engineConfig": {"speculative_config": MTP, "max_beam_width": 1}},
        },
    ),
    (P5, {"prefill": {"engineConfig": {"tensor_parallel_size": 1, "disable_overlap_scheduler": True}}}),
    (
        P5,
        {
            "transfer": {"kvbm": {"cpuCacheGb": 100, "nixlBackends": {"UCX": True, "GDS": True}}},
            "discovery": {"etcd": {"endpoints": ["http://etcd:2379"]}},
        },
    ),
    ("generic", {"prefill": {"devices": {"rdma/ib": 1}}}),
    ("generic", {"env": env(("UCX_TLS", "tcp,cuda")), "security": {"mode": "Restricted"}}),
    (
        "generic",
        {
            "env": env(("UCX_TLS", "rc,cuda")),
            "prefill": {"devices": {"rdma/ib": 1}},
            "decode": {"devices": {"rdma/ib": 1}},
        },
    ),
    ("generic", {"env": env(("UCX_TLS", "tcp,cuda_copy"))}),
    ("infiniband", {"env": env(("UCX_TLS", "rc,cuda_copy"))}),
    ("infiniband", {"env": env(("UCX_TLS", "^tcp"))}),
    ("infiniband", {"env": env(("UCX_TLS", "tcp,cuda"))}),
    (NVL, {"env": env(("UCX_TLS", "rc,cuda_copy,cuda_ipc"))}),
    (NVL, {"env": env(("NCCL_MNNVL_ENABLE", "1"))}),
    (NVL, {"decode": {**NVL72, "replicas": 17}, "rollout": {"strategy": "Recreate"}}),
    (
        NVL,
        {
            "decode": {**NVL72, "replicas": 17},
            "computeDomain": {"enabled": False},
            "env": env(("NCCL_MNNVL_ENABLE", "0")),
        },
    ),
    (
        NVL,
        {
            "prefill": {**NVL72, "podTemplate": {"spec": {"resourceClaims": [CLAIM]}}},
            "decode": {**NVL72, "podTemplate": {"spec": {"resourceClaims": [CLAIM]}}},
            "computeDomain": {"enabled": False},
        },
    ),
    (NVL, {"computeDomain": {"numNodes": 2}}),
    (NVL, {"computeDomain": {"numNodes": 0}, "env": env(("NCCL_NVLS_ENABLE", "1"), ("NVIDIA_GDRCOPY", "1"))}),
    (
        NVL,
        {
            "decode": {
                **NVL72,
                "podTemplate": {
                    "spec": {
                        "resourceClaims": [CLAIM],
                        "containers": [claiming("nic")],
                        "initContainers": [
                            {**claiming("compute-domain-channel"), "name": "look", "image": "a"}
                        ],
                    }
                },
            }
        },
    ),
    # KV cache crosses EFA there, so that UCX may be kept off NVLink, and racks are no limit.
    (P6E, {"env": env(("UCX_TLS", "^cuda_ipc"))}),
    (
        P6E,
        {
            "decode": {**NVL72, "replicas": 40},
            "placement": {"topologyKey": "topology.kubernetes.io/zone"},
        },
    ),
    ("gke-a4x", {"decode": {**NVL72, "replicas": 40}, "placement": {"required": False}}),
    (P5, {"env": env(("NCCL_IB_DISABLE", "1"))}),
    (
        P5,
        {
            "prefill": {
                "parallelism": {"tensor": 4},
                "podTemplate": {
                    "spec": {
                        "containers": [with_gpus("worker", 4), {**with_gpus("sidecar", "1"), "image": "a"}]
                    }
                },
            },
            "decode": {"podTemplate": {"spec": {"containers": [with_gpus("worker", "0")]}}},
        },
    ),
    (NVL, {"placement": {"nodeSelector": {"kubernetes.io/arch": "arm64"}}}),
    (NVL, {"runtime": {"image": "amd64/own:1.0-arm64@sha256:" + 64 * "0"}}),
    (NVL, {"runtime": {"image": "localhost:5000/amd64/own:1"}}),
    (
        P5,
        {
            "prefill": {"engineConfig": {"max_seq_len": 8192}},
            "decode": {"engineConfig": {"max_seq_len": 16384}},
        },
    ),
    (P5, {**RC19, "decode": transceiver(kv_transfer_sender_future_timeout_ms=60000)}),
    (P5, {"transfer": {"timeoutSeconds": 600}, "prefill": transceiver(kv_transfer_poll_interval_ms=600000)}),
    (P5, {"decode": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 60}}}}),
    (P5, {"frontend": {"podTemplate": {"spec": {"terminationGracePeriodSeconds": 5}}}}),
    (
        "generic",
        {**REFERENCE, **KV_MODE, "localPrefill": {"maxPromptTokens": 64, **HIT, "prefillLoadPercent": 100}},
    ),
    ("generic", {**REFERENCE, "localPrefill": {"maxPromptTokens": 64}, "verification": {"promptTokens": 65}}),
    (
        NVL,
        {
            "prefill": {"parallelism": {"tensor": 1}},
            "computeDomain": {"enabled": False},
            "env": env(("NCCL_MNNVL_ENABLE", "0")),
        },
    ),
]


def _id(row: Any) -> str:
    return f"{row[0]}: {row[-1]}"


@pytest.mark.parametrize("row", FAULTS, ids=_id)
def test_rule_finds_its_fault(row: Row) -> None:
    rule, platform, spec, field = row
    installation = LIMITED if rule.startswith("host-") else INSTALLATION
    refused, warned = judged(platform, spec, SEEN.get(rule, UNSEEN), installation)
    (severity,) = {each.severity for each in RULES if each.id == rule}
    problems = refused if severity is Severity.REFUSE else warned
    hits = [problem for problem in problems if problem.rule == rule]
    both = {field.replace("*", role) for role in ("prefill", "decode")}
    assert {problem.field for problem in hits} == both, (refused, warned)
    assert all(problem.fault and problem.remedy for problem in hits)


@pytest.mark.parametrize(("platform", "spec"), LEGAL, ids=str)
def test_what_is_legal_is_left_alone(platform: str, spec: dict[str, Any]) -> None:
    assert judged(platform, spec) == ((), ())


def test_every_rule_has_a_fault_in_the_table() -> None:
    assert {row[0] for row in FAULTS} == {rule.id for rule in RULES}


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.unsafe], ids=lambda rule: rule.id)
def test_unsafe_rules_can_be_overridden_and_say_so(rule: Any) -> None:
    _, platform, spec, _ = next(row for row in FAULTS if row[0] == rule.id)
    (problem, *_) = (each for each in judged(platform, spec)[0] if each.rule == rule.id)
    assert f"name {rule.id} in spec.security.allowUnsafe" in problem.remedy
    unsafe = judged(platform, {**spec, "security": {"allowUnsafe": [rule.id]}})[0]
    assert rule.id not in {each.rule for each in unsafe}


def test_rules_have_unique_ids_and_sources() -> None:
    ids = [rule.id for rule in admission.RULES] + [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(rule.source for rule in RULES)
