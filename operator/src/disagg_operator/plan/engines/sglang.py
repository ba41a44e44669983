"""SGLang workers behind a Dynamo frontend: ``python3 -m dynamo.sglang`` with NIXL."""

from disagg_operator.plan.engines.by_arguments import WIRING, Dialect, OfPeer
from disagg_operator.plan.model import Port

_NODES = "spec.*.nodesPerReplica"
_HERE = "engineConfig itself, whose keys are the arguments"

SGLANG = Dialect(
    name="sglang",
    sizes={"tensor": "tp-size", "pipeline": "pp-size", "expert": "ep-size"},
    of_peer=(
        OfPeer("prefill", "tensor", "disaggregation-decode-tp"),
        OfPeer("decode", "pipeline", "disaggregation-prefill-pp"),
    ),
    ports=(Port("bootstrap", 8998),),
    owned={
        "model": "spec.model.source",
        "model-path": "spec.model.source",
        "served-model-name": "spec.model.name",
        "disaggregation-mode": "the role",
        "disaggregation-transfer-backend": "spec.transfer",
        "disaggregation-bootstrap-port": "the release's profile: peers and NetworkPolicies know it",
        "disaggregation-decode-tp": "spec.decode.parallelism.tensor",
        "disaggregation-prefill-pp": "spec.prefill.parallelism.pipeline",
        "host": "the pod's own address",
        **WIRING,
        "tensor-parallel-size": "spec.*.parallelism.tensor",
        "tp-size": "spec.*.parallelism.tensor",
        "pipeline-parallel-size": "spec.*.parallelism.pipeline",
        "pp-size": "spec.*.parallelism.pipeline",
        "expert-parallel-size": "spec.*.parallelism.expert",
        "ep-size": "spec.*.parallelism.expert",
        "ep": "spec.*.parallelism.expert",
        "nnodes": _NODES,
        "node-rank": _NODES,
        "dist-init-addr": _NODES,
        "nccl-init-addr": _NODES,
        "config": _HERE,
        "config-key": _HERE,
        "disagg-config": _HERE,
        "disagg-config-key": _HERE,
    },
)
