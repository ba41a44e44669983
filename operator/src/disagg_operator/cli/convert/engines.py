"""What each engine's flags say, and which of them the operator writes by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from disagg_operator.cli.convert.model import NAME_FLAGS, PATH_FLAGS

SIZES = ("tensor", "pipeline", "context", "expert")

_WIRING = {
    "--endpoint": "the operator names endpoints",
    "--next-endpoint": "prefill and decode find each other by themselves",
    "--disaggregation-mode": "the role says it",
    "--disaggregation-strategy": "the frontend asks prefill first",
    "--is-prefill-worker": "the role says it",
    "--is-decode-worker": "the role says it",
    "--store-kv": "spec.discovery says it",
    "--discovery-backend": "spec.discovery says it",
    "--event-plane": "prefill, decode and frontend agree on the release's own",
    "--response-plane": "prefill, decode and frontend agree on the release's own",
    "--gpus-per-node": "spec.*.gpusPerNode says it",
    "--publish-events-and-metrics": "the operator has workers publish what the router asks for",
    "--publish-kv-events": "the operator has workers publish what the router asks for",
    "--publish-metrics": "the operator has workers publish their metrics",
    "--use-nixl-connect": "spec.transfer says it",
}
_MEETING = "ranks of a pod group find each other by themselves"
_SEVERAL_NODES = {
    "--nnodes": "spec.*.nodesPerReplica says it",
    "--node-rank": "it is the index of the pod in its group",
    "--dist-init-addr": _MEETING,
    "--master-addr": _MEETING,
    "--master-port": _MEETING,
    "--headless": _MEETING,
}

_DATA_PARALLEL = (
    "--data-parallel-size",
    "-dp",
    "--data-parallel-size-local",
    "--data-parallel-rank",
    "--data-parallel-start-rank",
    "--data-parallel-address",
    "--data-parallel-rpc-port",
    "--data-parallel-hybrid-lb",
    "--data-parallel-external-lb",
)
_NO_DATA_PARALLEL = "the operator runs no data parallel ranks: write more replicas of fewer GPUs"


@dataclass(frozen=True)
class EngineFlags:
    """Flags of one engine's worker.

    Attributes:
        sizes: flags of parallel sizes, by the size.
        size_keys: keys of parallel sizes in the engine's file, by the size.
        settings: flags that are settings of the engine's file, with their keys.
        file: flags that name the engine's file.
        override: flag whose JSON is laid over that file.
        derived: flags that the operator writes, with the reason.
        dropped: flags that the operator has nothing for, with the reason; 1 is what there is without them.
        any_flag: whether every other flag is a setting of ``engineConfig``, as for engines without a file.
        names: sizes under the names by which ``engineConfig`` knows them.
        negates: whether ``--no-NAME`` is NAME: false.
        expert_switch: the flag by which every rank of the tensor parallel size holds experts of its own.
    """

    sizes: Mapping[str, tuple[str, ...]]
    size_keys: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    file: tuple[str, ...] = ()
    override: tuple[str, ...] = ()
    derived: Mapping[str, str] = field(default_factory=dict)
    dropped: Mapping[str, str] = field(default_factory=dict)
    any_flag: bool = False
    names: Mapping[str, str] = field(default_factory=dict)
    negates: bool = False
    expert_switch: str = ""


ENGINES: Mapping[str, EngineFlags] = {
    # Dynamo 0.9: components/src/dynamo/trtllm/utils/trtllm_utils.py
    "trtllm": EngineFlags(
        sizes={
            "tensor": ("--tensor-parallel-size", "--tp-size"),
            "pipeline": ("--pipeline-parallel-size", "--pp-size"),
            "expert": ("--expert-parallel-size", "--ep-size"),
        },
        size_keys={
            "tensor": "tensor_parallel_size",
            "pipeline": "pipeline_parallel_size",
            "context": "context_parallel_size",
            "expert": "moe_expert_parallel_size",
        },
        settings={
            "--max-batch-size": "max_batch_size",
            "--max-num-tokens": "max_num_tokens",
            "--max-seq-len": "max_seq_len",
            "--max-beam-width": "max_beam_width",
            "--kv-block-size": "kv_cache_config.tokens_per_block",
            "--free-gpu-memory-fraction": "kv_cache_config.free_gpu_memory_fraction",
        },
        file=("--extra-engine-args",),
        override=("--override-engine-args",),
        derived=_WIRING,
    ),
    # vLLM: EngineArgs; Dynamo 0.9: components/src/dynamo/vllm/args.py
    "vllm": EngineFlags(
        sizes={
            "tensor": ("--tensor-parallel-size", "-tp"),
            "pipeline": ("--pipeline-parallel-size", "-pp"),
        },
        derived={
            **_WIRING,
            **_SEVERAL_NODES,
            "--connector": "spec.transfer says how KV cache moves",
            "--kv-events-config": "the operator has workers publish what the router asks for",
        },
        dropped=dict.fromkeys(_DATA_PARALLEL, _NO_DATA_PARALLEL),
        any_flag=True,
        negates=True,
        expert_switch="--enable-expert-parallel",
    ),
    # SGLang: ServerArgs; Dynamo 0.9: components/src/dynamo/sglang/args.py
    "sglang": EngineFlags(
        sizes={
            "tensor": ("--tensor-parallel-size", "--tp-size", "--tp"),
            "pipeline": ("--pipeline-parallel-size", "--pp-size", "--pp"),
            "expert": ("--expert-parallel-size", "--ep-size", "--ep"),
        },
        derived={
            **_WIRING,
            "--disaggregation-transfer-backend": "spec.transfer says it",
            "--disaggregation-bootstrap-port": "the operator chooses the port",
            "--host": "workers listen on their pod's address",
            **_SEVERAL_NODES,
            "--kv-events-config": "the operator has workers publish what the router asks for",
        },
        any_flag=True,
        names=dict.fromkeys(("--dp", "--dp-size", "--data-parallel-size"), "dp-size"),
    ),
    # Dynamo 0.9: components/src/dynamo/mocker/args.py
    "mocker": EngineFlags(
        sizes={},
        derived=_WIRING,
        dropped={"--num-workers": "every worker is a pod of its own: write spec.*.replicas"},
        any_flag=True,
    ),
}
MODEL_FLAGS = (*PATH_FLAGS, *NAME_FLAGS)
