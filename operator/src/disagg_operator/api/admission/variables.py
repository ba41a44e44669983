"""Rules about environment variables, wherever a user can write them: ``env`` fields and pod templates."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, roles
from disagg_operator.api.admission.shapes import findings
from disagg_operator.api.admission.templates import containers, templates
from disagg_operator.api.v1alpha1.base import EnvVar
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec
from disagg_operator.api.v1alpha1.variables import (
    BACKENDS,
    EFA_SHARED_MEMORY,
    ENGINE_NEUTRAL_BACKEND,
    KVBM_BACKEND,
    KVBM_NO,
    KVBM_YES,
    MISSPELT_PLUGIN_FOLDER,
    NIXL_BACKEND,
    NIXL_PLUGINS,
)

WIRING = {
    "DYN_NAMESPACE": "the operator gives every deployment a scope of its own",
    "DYN_NAMESPACE_PREFIX": "the operator gives every deployment a scope of its own",
    "DYN_NAMESPACE_WORKER_SUFFIX": "it carries the revision, which keeps two revisions apart",
    "DYN_DISCOVERY_BACKEND": "spec.discovery.backend says it",
    "DYN_KUBE_DISCOVERY_MODE": "the operator's permissions fit pod discovery only",
    "DYN_STORE_KV": "spec.discovery.backend says it",
    "DYN_REQUEST_PLANE": "prefill, decode and frontend must agree on it",
    "DYN_EVENT_PLANE": "prefill, decode and frontend must agree on it",
    "DYN_SYSTEM_PORT": "probes and metrics use the derived port",
    "DYN_SYSTEM_HOST": "the kubelet and the agent reach the worker by its pod's address",
    "DYN_SYSTEM_HEALTH_PATH": "probes ask the path that Dynamo documents",
    "DYN_SYSTEM_LIVE_PATH": "probes ask the path that Dynamo documents",
    "DYN_SYSTEM_STARTING_HEALTH_STATUS": "a worker would be ready before its engine is",
    "DYN_SYSTEM_ENABLED": "probes and metrics depend on it",
    "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": "readiness depends on it",
    "DYN_HEALTH_CHECK_ENABLED": "readiness depends on it",
    "DYN_HTTP_PORT": "spec.frontend.port says it",
    "DYN_HTTP_SVC_CHAT_PATH": "canaries ask the path that Dynamo documents",
    "DYN_HTTP_SVC_CMP_PATH": "canaries ask the path that Dynamo documents",
    "DYN_HTTP_SVC_HEALTH_PATH": "probes ask the path that Dynamo documents",
    "DYN_HTTP_SVC_LIVE_PATH": "probes ask the path that Dynamo documents",
    "DYN_HTTP_SVC_METRICS_PATH": "draining, scalers and the PodMonitor read the path that Dynamo documents",
    "DYN_HTTP_SVC_MODELS_PATH": "readiness asks the path that Dynamo documents",
    "DYN_ROUTER_MODE": "spec.frontend.routerMode says it",
    "DYN_ROUTER_CONDITIONAL_DISAGG": "spec.localPrefill says it",
    "DYN_ROUTER_CONDITIONAL_DISAGG_CONFIG": "spec.localPrefill says it",
    "NATS_SERVER": "spec.discovery.nats says it; a set one is connected to even where it is not needed",
    "ETCD_ENDPOINTS": "spec.discovery.etcd says it",
    "POD_NAME": "discovery registers pods under their real name",
    "POD_UID": "discovery registers pods under their real identity",
    "POD_NAMESPACE": "discovery watches the real namespace",
    "POD_IP": "peers read KV cache from the real address",
    "DISAGG_GROUP": "ranks of a pod group find each other by it",
    "DISAGG_NODE_RANK": "it is the index of the pod in its group",
    "DISAGG_NODES": "spec.*.nodesPerReplica says it",
    "DISAGG_WORLD_SIZE": "spec.*.parallelism says it",
    "DISAGG_LEADER": "ranks of a pod group find each other by it",
    "HOME": "it is the only writable home directory",
}
"""Variables that the operator derives and that hold a deployment together, with the reason."""

SHARED_MEMORY_BREAKS = (
    f"{EFA_SHARED_MEMORY} must be 0: shared-memory transfers of EFA break NIXL's registrations of GPU memory"
)
"""NVIDIA's page on KV cache transfer: AWS EFA."""
_METHOD_SWITCH = re.compile(r"TRTLLM_USE_(UCX|NIXL|MPI|MOONCAKE)_KV_?CACHE")
_SECRET = re.compile(r"(^|_)(TOKEN|PASSWORD|SECRET|API_KEY|SECRET_ACCESS_KEY)$", re.IGNORECASE)
_VALUE_SOURCES = ("secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef", "fileKeyRef")
_ENGINE_NIXL = "tensorrt_llm/libs/nixl"
_KV_DOC = "https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html"


@dataclass(frozen=True)
class Variable:
    """A variable as written: path of its entry, name, and literal value if it has one."""

    path: str
    name: str
    value: str | None


def _lists(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, list[EnvVar]]]:
    yield "spec.env", spec.env
    yield "spec.frontend.env", spec.frontend.env
    for path, role in roles(spec):
        yield f"{path}.env", role.env


def _variables(spec: DisaggDeploymentSpec) -> Iterator[Variable]:
    for path, variables in _lists(spec):
        for index, each in enumerate(variables):
            yield Variable(f"{path}[{index}]", each.name, each.value)
    for path, template in templates(spec):
        for place, container in containers(path, template):
            yield from _written(place, container.get("env"))


def _written(place: str, env: Any) -> Iterator[Variable]:
    for index, each in enumerate(env if isinstance(env, list) else ()):
        if isinstance(each, Mapping) and isinstance(each.get("name"), str):
            value = each.get("value")
            yield Variable(f"{place}.env[{index}]", each["name"], value if isinstance(value, str) else None)


def _duplicates(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, variables in _lists(spec):
        seen = Counter[str]()
        for index, each in enumerate(variables):
            if seen[each.name]:
                yield Finding(f"{path}[{index}]", f"{each.name} is set twice", "Keep one of the two")
            seen[each.name] += 1


def _value_or_source(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, variables in _lists(spec):
        for index, each in enumerate(variables):
            if each.value_from is None:
                continue
            field = f"{path}[{index}]"
            if each.value is not None:
                yield Finding(field, f"{each.name} has both value and valueFrom", "Keep one of the two")
            elif len(each.value_from) != 1 or not set(each.value_from) <= set(_VALUE_SOURCES):
                keys = ", ".join(each.value_from) or "nothing"
                fault = f"{each.name} takes its value from: {keys}"
                yield Finding(
                    f"{field}.valueFrom", fault, f"Write exactly one of {', '.join(_VALUE_SOURCES)}"
                )
            else:
                yield from findings("EnvVarSource", each.value_from, f"{field}.valueFrom")
                if None in each.value_from.values():
                    yield Finding(f"{field}.valueFrom", "names no source", "Write the source's name and key")


def _wiring(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        if each.name in WIRING:
            fault = f"{each.name} cannot be set: {WIRING[each.name]}"
            yield Finding(each.path, fault, "Leave it out")


def _two_backends(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    both = (ENGINE_NEUTRAL_BACKEND, NIXL_BACKEND)
    for path, role in roles(spec):
        names = {each.name for each in (*spec.env, *role.env)}
        if names.issuperset(both):
            fault = f"{' and '.join(both)} are both set for this role, and different libraries read them"
            yield Finding(f"{path}.env", fault, "Remove both and write spec.transfer.nixlBackend")


def _plugin_folder(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        if each.name == MISSPELT_PLUGIN_FOLDER:
            fault = f"NIXL does not read {MISSPELT_PLUGIN_FOLDER}, though some documents name it"
            yield Finding(each.path, fault, "Write NIXL_PLUGIN_DIR")


def _backend_spelling(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        if each.name == NIXL_BACKEND and each.value not in (None, *BACKENDS):
            fault = f"TensorRT-LLM knows only {' and '.join(BACKENDS)}, in capitals; else it uses UCX"
            yield Finding(each.path, fault, "Write one of these, or better spec.transfer.nixlBackend")


def _method_switch(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        match = _METHOD_SWITCH.fullmatch(each.name)
        if match:
            library = match.group(1)
            fault = (
                f"{each.name}=1 with cache_transceiver_config.backend: DEFAULT does not enable {library}, "
                "and any other backend wins over it"
            )
            remedy = f"Leave it out and write spec.transfer.method: {library}, which writes the backend"
            yield Finding(each.path, fault, remedy)


def _kvbm_words(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        plugin = each.name.removeprefix(KVBM_BACKEND)
        # DYN_KVBM_NIXL_BACKEND_<BACKEND>_<PARAMETER> takes any value.
        switches = plugin != each.name and (plugin in NIXL_PLUGINS or "_" not in plugin)
        if switches and each.value is not None and each.value.lower() not in (*KVBM_YES, *KVBM_NO):
            fault = f"KVBM does not understand {each.value!r}"
            remedy = f"Write {', '.join(KVBM_YES)} to enable {plugin}, or {', '.join(KVBM_NO)} to disable it"
            yield Finding(each.path, fault, remedy)


def _efa_shared_memory(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        if each.name == EFA_SHARED_MEMORY and each.value != "0":
            yield Finding(each.path, SHARED_MEMORY_BREAKS, 'Write "0" or leave it out')


def _prefill_plugins(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    places = ("spec.env[", "spec.prefill.env[", "spec.prefill.podTemplate")
    for each in _variables(spec):
        ours = each.name == "NIXL_PLUGIN_DIR" and _ENGINE_NIXL in (each.value or "")
        if ours and each.path.startswith(places):
            fault = "prefill loads the system's NIXL, which does not fit the plugins inside TensorRT-LLM"
            yield Finding(each.path, fault, "Set it in spec.decode.env only")


def _plain_secret(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for each in _variables(spec):
        if each.value and _SECRET.search(each.name):
            fault = f"{each.name} looks like a secret, and everybody who may read the resource reads it"
            yield Finding(each.path, fault, "Put it into a Secret and write valueFrom.secretKeyRef")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("env-no-duplicates", "https://kubernetes.io/docs/tasks/inject-data-application/", _duplicates),
    Rule("env-value-or-source", "Kubernetes: EnvVar.valueFrom", _value_or_source),
    Rule(
        "env-wiring-reserved",
        "docs: variables that the operator derives",
        _wiring,
        says="the operator sets this variable, by which parts of a deployment find each other",
    ),
    Rule("env-one-nixl-backend", f"{_KV_DOC}#specify-backends-for-nixl", _two_backends),
    Rule("env-nixl-plugin-dir", "NIXL: nixl_plugin_manager.cpp", _plugin_folder),
    Rule("env-nixl-backend-spelling", "TensorRT-LLM: envUtils.cpp", _backend_spelling),
    Rule("env-no-method-switch", f"{_KV_DOC}#alternative-method-ucx", _method_switch),
    Rule("env-kvbm-words", f"{_KV_DOC}#specify-backends-for-nixl", _kvbm_words),
    Rule(
        "env-efa-shared-memory",
        f"{_KV_DOC}#aws-efa",
        _efa_shared_memory,
        unsafe=True,
        says=SHARED_MEMORY_BREAKS,
    ),
    Rule(
        "env-prefill-plugins",
        f"{_KV_DOC}#nixl-plugin-abi-mismatch-on-decode-multinode",
        _prefill_plugins,
        unsafe=True,
    ),
    Rule(
        "env-plain-secret",
        "https://kubernetes.io/docs/concepts/configuration/secret/",
        _plain_secret,
        unsafe=True,
    ),
)
