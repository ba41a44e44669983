"""Rules about fields that must go together, whatever is built today."""

from collections.abc import Iterator, Sequence

from disagg_operator.api.admission.rule import Finding, Rule, roles
from disagg_operator.api.v1alpha1.operations import RoleScaling, VerificationMode
from disagg_operator.api.v1alpha1.placement import GangScheduler
from disagg_operator.api.v1alpha1.role import TransferMethod
from disagg_operator.api.v1alpha1.runtime import Engine, FrontendKind
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.api.v1alpha1.variables import NIXL_PLUGINS
from disagg_operator.api.wording import counted

_LOWEST_FREE_PORT = 1024
_CPU_ENGINES = (Engine.REFERENCE, Engine.MOCKER)
_WITHOUT_CONTEXT = (Engine.VLLM, Engine.SGLANG)
_WITH_QUEUES = (GangScheduler.AUTO, GangScheduler.KUEUE, GangScheduler.KAI)
_OTHER_SCHEDULERS = (GangScheduler.KAI, GangScheduler.COSCHEDULING)
_TRTLLM_DOCS = "https://github.com/NVIDIA/TensorRT-LLM/blob/main/docs/source/features"


def _nixl_backend(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.transfer.nixl_backend is not None and spec.transfer.method not in (None, TransferMethod.NIXL):
        fault = f"is only for method NIXL, and the method is {spec.transfer.method}"
        yield Finding("spec.transfer.nixlBackend", fault, "Leave it out, or write method: NIXL")


def _frontend_file(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.frontend.config and spec.runtime.frontend is not FrontendKind.TRTLLM_SERVE:
        remedy = f"Leave it out, or write runtime.frontend: {FrontendKind.TRTLLM_SERVE}"
        yield Finding("spec.frontend.config", "Dynamo's frontend has no configuration file", remedy)


def _kvbm_plugins(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for name in spec.transfer.kvbm.nixl_backends if spec.transfer.kvbm else ():
        if name not in NIXL_PLUGINS:
            field = f"spec.transfer.kvbm.nixlBackends.{name}"
            remedy = f"Write one of: {', '.join(NIXL_PLUGINS)}"
            yield Finding(field, "NIXL has no plugin of this name", remedy)


def _expert(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, role in roles(spec):
        sizes = role.parallelism
        if sizes.tensor % sizes.expert:
            fault = f"{sizes.expert} does not divide the tensor parallel size {sizes.tensor}"
            yield Finding(f"{path}.parallelism.expert", fault, f"Write a divisor of {sizes.tensor}")


def _prefill_context(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.runtime.engine == Engine.TRTLLM and spec.prefill.parallelism.context > 1:
        fault = "TensorRT-LLM transfers no KV cache from a prefill role with context parallelism"
        yield Finding("spec.prefill.parallelism.context", fault, "Write 1; use tensor or pipeline instead")


def _context(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, role in roles(spec):
        if spec.runtime.engine in _WITHOUT_CONTEXT and role.parallelism.context > 1:
            fault = f"{spec.runtime.engine} splits no sequence over further GPUs while its KV cache is moved"
            yield Finding(f"{path}.parallelism.context", fault, "Write 1; use tensor or pipeline instead")


def _whole_expert(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, role in roles(spec):
        sizes = role.parallelism
        if spec.runtime.engine == Engine.VLLM and sizes.expert not in (1, sizes.tensor):
            fault = f"vLLM holds experts on every rank of the tensor parallel size ({sizes.tensor}), or none"
            yield Finding(f"{path}.parallelism.expert", fault, f"Write {sizes.tensor} or 1")


def _nothing_verified(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.runtime.engine == Engine.MOCKER and spec.verification.mode == VerificationMode.ENFORCE:
        fault = "nothing can be verified: the mocker moves no KV cache, so that no request would be served"
        yield Finding("spec.verification.mode", fault, "Leave it out, or use the reference engine")


def _ranks(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.runtime.engine in _CPU_ENGINES:
        return
    for path, role in roles(spec):
        sizes, nodes = role.parallelism, role.nodes_per_replica
        ranks = sizes.tensor * sizes.pipeline * sizes.context
        asked = f"parallelism asks for {counted(ranks, 'rank')} (tensor x pipeline x context)"
        if role.gpus_per_node is None:
            if ranks % nodes:
                fault = f"{nodes} nodes cannot share {ranks} ranks evenly"
                yield Finding(f"{path}.nodesPerReplica", fault, f"Write a divisor of {ranks}")
        elif role.gpus_per_node * nodes != ranks:
            gpus = role.gpus_per_node * nodes
            product = f"{counted(role.gpus_per_node, 'GPU')} x {counted(nodes, 'node')}"
            fault = f"{product} {'is' if gpus == 1 else 'are'} {gpus}, but {asked}"
            written = role.parallelism.model_fields_set
            split = "change parallelism" if written else f"write parallelism: {{tensor: {gpus}}}"
            remedy = f"Make gpusPerNode x nodesPerReplica {ranks}, or {split}"
            yield Finding(f"{path}.gpusPerNode", fault, remedy)


def _scaling(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.scaling is None:
        return
    bounds: tuple[tuple[str, RoleScaling | None], ...] = (
        ("prefill", spec.scaling.prefill),
        ("decode", spec.scaling.decode),
    )
    for role, bound in bounds:
        if bound is not None and bound.min_replicas > bound.max_replicas:
            fault = f"{bound.min_replicas} is above maxReplicas ({bound.max_replicas})"
            remedy = f"Write at most {bound.max_replicas}, or raise maxReplicas"
            yield Finding(f"spec.scaling.{role}.minReplicas", fault, remedy)


def _rollout_moves(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for role, written in (("prefill", spec.rollout.prefill), ("decode", spec.rollout.decode)):
        if written is not None and _none(written.max_surge) and _none(written.max_unavailable):
            fault = "with no instance more (maxSurge) and none less, nothing can ever change"
            remedy = "Write 1, or maxSurge: 1 where there is room for an instance more"
            yield Finding(f"spec.rollout.{role}.maxUnavailable", fault, remedy)


def _none(share: int | str | None) -> bool:
    return share is not None and not str(share).strip("0%")


def _verification_used(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    asked = spec.verification
    off, without = "the mode is Off", "canary is false"
    unused = {
        "intervalSeconds": (asked.interval_seconds, [off]),
        "canary": (asked.canary, [off]),
        "minimumGBps": (asked.minimum_gbps, [off, without]),
        "promptTokens": (asked.prompt_tokens, [off, without]),
        "kvBytesPerToken": (asked.kv_bytes_per_token, [off, without]),
    }
    holds = {off: asked.mode == VerificationMode.OFF, without: asked.canary is False}
    for field, (given, reasons) in unused.items():
        why = next((reason for reason in reasons if holds[reason]), None)
        if given is not None and why is not None:
            remedy = (
                "Leave it out, or write another mode"
                if why == off
                else "Leave it out, or leave out canary: false"
            )
            yield Finding(f"spec.verification.{field}", f"has no effect, because {why}", remedy)


def _verification_can_end(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.verification.mode == VerificationMode.ENFORCE and spec.verification.canary is False:
        fault = "nothing could ever be verified: no request comes before that, and the canary is switched off"
        yield Finding("spec.verification.canary", fault, "Leave it out, or write mode: Warn")


def _frontend_port(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    if spec.frontend.port < _LOWEST_FREE_PORT:
        fault = f"port {spec.frontend.port} cannot be opened by the frontend, which runs without privileges"
        remedy = f"Write {_LOWEST_FREE_PORT} or more; an Ingress or Gateway can listen on a lower port"
        yield Finding("spec.frontend.port", fault, remedy)


def _sets(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    lists: dict[str, Sequence[object]] = {
        "spec.runtime.imagePullSecrets": spec.runtime.image_pull_secrets,
        "spec.security.allowUnsafe": spec.security.allow_unsafe,
        "spec.discovery.etcd.endpoints": spec.discovery.etcd.endpoints if spec.discovery.etcd else [],
    }
    for path, entries in lists.items():
        for index, entry in enumerate(entries):
            if entry in entries[:index]:
                yield Finding(f"{path}[{index}]", "stands in the list twice", "Leave one of the two out")


def _compute_domain(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    asked = spec.compute_domain
    if asked is None:
        return
    if asked.name is not None and asked.num_nodes is not None:
        fault = f"is the existing ComputeDomain's own, and {asked.name} is to be used"
        yield Finding("spec.computeDomain.numNodes", fault, "Leave out numNodes or name")
    if asked.enabled is False and (asked.name is not None or asked.num_nodes is not None):
        fault = "is false, and yet name or numNodes describe a ComputeDomain"
        yield Finding("spec.computeDomain.enabled", fault, "Leave out name and numNodes, or write true")


def _gang(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    asked, where = spec.placement.gang, "spec.placement.gang"
    if asked is None:
        return
    if asked.queue is not None and asked.scheduler not in _WITH_QUEUES:
        fault = f"{asked.scheduler} has no queues"
        yield Finding(f"{where}.queue", fault, "Leave it out, or write scheduler: Kueue or KAI")
    if asked.queue is None and asked.scheduler == GangScheduler.KUEUE:
        remedy = "Write the name of a LocalQueue of the namespace"
        yield Finding(f"{where}.queue", "Kueue looks only after what names a queue", remedy)
    if asked.scheduler_name is not None and asked.scheduler not in _OTHER_SCHEDULERS:
        fault = f"with {asked.scheduler}, pods have the scheduler of the cluster"
        yield Finding(
            f"{where}.schedulerName", fault, "Leave it out, or write scheduler: KAI or Coscheduling"
        )


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("nixl-backend-needs-nixl", f"{_TRTLLM_DOCS}/disagg-serving.md", _nixl_backend),
    Rule("frontend-has-file", "docs/trtllm-serve.md", _frontend_file),
    Rule("kvbm-plugin-known", "ai-dynamo/nixl: src/plugins", _kvbm_plugins),
    Rule("expert-divides-tensor", f"{_TRTLLM_DOCS}/parallel-strategy.md", _expert),
    Rule("prefill-no-context-parallel", "TensorRT-LLM: cacheFormatter inquireSupport", _prefill_context),
    Rule("no-context-parallel", "Dynamo: dynamo/vllm/args.py, dynamo/sglang/args.py", _context),
    Rule("vllm-experts-on-all", "vLLM: arg_utils.py (enable_expert_parallel)", _whole_expert),
    Rule("mocker-not-enforced", "Dynamo: dynamo/mocker", _nothing_verified),
    Rule("gpus-equal-ranks", f"{_TRTLLM_DOCS}/parallel-strategy.md", _ranks),
    Rule("lists-no-duplicates", "Kubernetes: x-kubernetes-list-type: set", _sets),
    Rule("scaling-bounds", "docs: spec.scaling", _scaling),
    Rule("rollout-can-move", "https://github.com/sgl-project/rbg/issues/307", _rollout_moves),
    Rule("verification-used", "docs: spec.verification", _verification_used),
    Rule("verification-can-end", "docs: spec.verification", _verification_can_end),
    Rule("compute-domain-consistent", "docs: spec.computeDomain", _compute_domain),
    Rule(
        "gang-consistent",
        "docs: spec.placement.gang",
        _gang,
        says="names what the gang scheduler that was chosen does not have",
    ),
    Rule("frontend-port-free", "capabilities(7): CAP_NET_BIND_SERVICE", _frontend_port, unsafe=True),
)
