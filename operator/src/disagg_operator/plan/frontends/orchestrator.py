"""The configuration file of ``trtllm-serve disaggregated``, setting by setting.

Its parser takes any key and does nothing with one that it does not know, so that what a user writes is
checked here. Invariant: what says where workers are is derived, and nobody can write it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.runtime import RouterMode
from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.engines.config import explained, laid_over, nested, value_at
from disagg_operator.plan.engines.models import model_path
from disagg_operator.plan.engines.trtllm import TOKENS_PER_BLOCK
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.frontends.family import Workers
from disagg_operator.plan.model import DECODE, PREFILL, ConfigSetting, Provenance, RolePlan
from disagg_operator.platforms.profile import Orchestrator, Routing

ORCHESTRATOR_FILE = "orchestrator.yaml"
_FIELD = "spec.frontend.config"
_MODE = "spec.frontend.routerMode"
_SECTIONS = {PREFILL: "context_servers", DECODE: "generation_servers"}
_CONDITIONAL = "conditional_disagg_config"
_LOCAL = "spec.localPrefill.prefixHit"
_DERIVED = ("hostname", "port", *_SECTIONS.values(), "disagg_cluster", "internal_request_auth_key")
_STYLES = ("context_first", "generation_first")
_PARSER = "TensorRT-LLM, tensorrt_llm/llmapi/disagg_utils.py"
_HEARTBEAT_SECONDS = 5
_INACTIVE_SECONDS = 30
"""A client keeps its lease, and does not see that it has run out: whoever missed it stays away until it is
started anew. TensorRT-LLM's own 10 s are soon over while an etcd restarts."""


@dataclass(frozen=True)
class Cluster:
    """Where workers of one revision register.

    Attributes:
        uri: URIs of the etcd, separated by commas.
        name: scope in which they register.
    """

    uri: str
    name: str

    @property
    def settings(self) -> dict[str, Any]:
        """What the files of orchestrator and workers say alike."""
        return {
            "cluster_uri": self.uri,
            "cluster_name": self.name,
            "heartbeat_interval_sec": _HEARTBEAT_SECONDS,
            "inactive_timeout_sec": _INACTIVE_SECONDS,
        }


@dataclass(frozen=True)
class OrchestratorFile:
    """The file.

    Attributes:
        text: as YAML.
        settings: setting by setting, with the reason of each.
        reads_model: whether the orchestrator needs the model's tokenizer.
    """

    text: str
    settings: tuple[ConfigSetting, ...]
    reads_model: bool


def release(basis: Basis) -> Orchestrator:
    """Return what the file of the release may say."""
    found = basis.runtime.orchestrator
    assert found is not None, "releases of trtllm-serve have one"  # noqa: S101
    return found


def orchestrator_file(basis: Basis, workers: Workers, cluster: Cluster | None) -> OrchestratorFile:
    """Return the file of an orchestrator.

    Args:
        basis: what the deployment's pods have in common.
        workers: its workers.
        cluster: where they register; None where the file lists them.

    Raises:
        Refusal: the release cannot do what is asked.
    """
    routing = _routing(basis)
    written = basis.spec.frontend.config or {}
    _check(written, release(basis), f"{basis.runtime.name} {basis.runtime.version}")
    settings = tuple(_settings(basis, workers, cluster, routing))
    config = laid_over(nested(settings), written)
    return OrchestratorFile(
        text=yaml.dump(config, Dumper=yaml.CSafeDumper, sort_keys=False),
        settings=explained(config, settings, _FIELD),
        reads_model=routing.mode is RouterMode.KV,
    )


def _settings(
    basis: Basis, workers: Workers, cluster: Cluster | None, routing: Routing
) -> Iterator[ConfigSetting]:
    everywhere = Provenance("By default it listens on its own host alone.", _PARSER)
    yield ConfigSetting("hostname", "0.0.0.0", everywhere)  # noqa: S104 - inside a pod
    yield ConfigSetting("port", basis.spec.frontend.port, Provenance("Of the Service.", "spec.frontend.port"))
    for role, section in _SECTIONS.items():
        planned = workers.roles[role]
        if cluster is None:
            urls = _urls(basis, planned, workers.revision)
            why = Provenance("Workers by the names of their pods; of a group, its leader.", _PARSER)
            yield ConfigSetting(f"{section}.num_instances", len(urls), why)
            yield ConfigSetting(f"{section}.urls", urls, why)
        yield ConfigSetting(f"{section}.router.type", routing.type, provenance(routing))
        if routing.mode is RouterMode.KV:
            yield from _of_kv_router(basis, planned, f"{section}.router")
    local = basis.spec.local_prefill
    if local is not None and local.prefix_hit is not None:
        left = Provenance("What is left to decode, of which it has the beginning.", _LOCAL)
        yield ConfigSetting(f"{_CONDITIONAL}.max_local_prefill_length", local.prefix_hit.max_new_tokens, left)
    if cluster is not None:
        why = Provenance("Workers of this revision register there.", "spec.discovery")
        for key, value in cluster.settings.items():
            yield ConfigSetting(f"disagg_cluster.{key}", value, why)
        for section in _SECTIONS.values():
            one = Provenance("It serves once it has a worker of each role.", _PARSER)
            yield ConfigSetting(f"disagg_cluster.minimal_instances.{section}", 1, one)


def _urls(basis: Basis, role: RolePlan, revision: str) -> list[str]:
    namespace, port = basis.resource.metadata.namespace, basis.runtime.worker.port
    identity = (basis.name, role.role, revision)
    if role.group is None:
        service = role.service
        pods = [f"{names.worker(*identity)}-{number}" for number in range(role.replicas)]
    else:
        service = names.all_pods(*identity)
        pods = [f"{names.group(*identity, number)}-0" for number in range(role.replicas)]
    return [f"{pod}.{service}.{namespace}.svc:{port}" for pod in pods]


def _of_kv_router(basis: Basis, role: RolePlan, section: str) -> Iterator[ConfigSetting]:
    tokens = value_at(role.engine_config, "kv_cache_config.tokens_per_block") or TOKENS_PER_BLOCK
    same = Provenance(
        "Blocks are compared by their hashes, so that they must be as long as the worker's.", _PARSER
    )
    yield ConfigSetting(f"{section}.tokens_per_block", tokens, same)
    folder = release(basis).tokenizer_folder
    if folder is not None:
        yield ConfigSetting(
            f"{section}.tokenizer_dir", model_path(basis.spec.model.source), provenance(folder)
        )


def _routing(basis: Basis) -> Routing:
    """Return how workers are chosen.

    Raises:
        Refusal: the release has no such way.
    """
    known = release(basis)
    mode, model = basis.spec.frontend.router_mode, basis.spec.model
    offered = {each.mode: each for each in known.routing}
    called = f"{basis.runtime.name} {basis.runtime.version}"
    if mode not in offered:
        fault = f"{called} does not choose workers by {mode}"
        raise Refusal([Problem(_MODE, fault, f"Write {' or '.join(offered)}", "router-mode-in-release")])
    if mode is RouterMode.KV and known.tokenizer_folder is None and model_path(model.source) != model.name:
        fault = f"{called} looks for a tokenizer by the name that requests ask for, and {model.name} is none"
        remedy = "Give model.name and model.source.huggingFace.repository the same name, or take another mode"
        raise Refusal([Problem(_MODE, fault, remedy, "router-finds-tokenizer")])
    return offered[mode]


def _check(written: dict[str, Any], known: Orchestrator, called: str) -> None:
    """Check what a user writes into the file.

    Raises:
        Refusal: it would do nothing, or harm.
    """
    problems = []
    for key, value in written.items():
        field = f"{_FIELD}.{key}"
        if key in _DERIVED:
            problems.append(Problem(field, "belongs to the operator", "Leave it out", "serve-keys-derived"))
        elif key == _CONDITIONAL:
            fault = "is a field of its own, by which the canary goes as well"
            problems.append(Problem(field, fault, f"Write {_LOCAL}.maxNewTokens", "serve-keys-derived"))
        elif key not in known.keys:
            fault = f"{called} does not know it, and would not say so"
            problems.append(
                Problem(field, fault, f"Write one of: {', '.join(known.keys)}", "serve-keys-known")
            )
        elif key == "schedule_style" and value not in _STYLES:
            fault = f"there is no style {value!r}, and context_first would be taken"
            problems.append(Problem(field, fault, f"Write {' or '.join(_STYLES)}", "serve-keys-known"))
    if problems:
        raise Refusal(problems)
