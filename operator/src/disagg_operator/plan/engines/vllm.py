"""vLLM workers behind a Dynamo frontend: ``python3 -m dynamo.vllm`` with NixlConnector."""

from disagg_operator.plan.engines.by_arguments import WIRING, Dialect
from disagg_operator.plan.model import Port

_NODES = "spec.*.nodesPerReplica"
_GPUS = "spec.*.parallelism, by which GPUs are counted: data parallelism is more replicas"

VLLM = Dialect(
    name="vllm",
    # Several stages are refused (plan/rules/instances.py), unless the user knows better.
    sizes={"tensor": "tensor-parallel-size", "pipeline": "pipeline-parallel-size"},
    expert_switch="enable-expert-parallel",
    negates=True,
    ports=(Port("nixl", 5600),),
    owned={
        "model": "spec.model.source",
        "served-model-name": "spec.model.name",
        "disaggregation-mode": "the role",
        "is-prefill-worker": "the role",
        "is-decode-worker": "the role",
        "connector": "spec.transfer",
        **WIRING,
        "tensor-parallel-size": "spec.*.parallelism.tensor",
        "pipeline-parallel-size": "spec.*.parallelism.pipeline",
        "enable-expert-parallel": "spec.*.parallelism.expert",
        "data-parallel-size": _GPUS,
        "data-parallel-size-local": _GPUS,
        "data-parallel-rank": _GPUS,
        "data-parallel-start-rank": _GPUS,
        "data-parallel-address": _GPUS,
        "nnodes": _NODES,
        "node-rank": _NODES,
        "master-addr": _NODES,
        "master-port": _NODES,
        "headless": _NODES,
    },
)
