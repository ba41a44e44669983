"""TensorRT-LLM's own frontend: ``trtllm-serve serve`` workers, and the orchestrator that knows them.

The orchestrator finds its workers in a list of names in its file, or in etcd, where workers register under
the address that they listen on. Invariants: a list names the workers of one revision, and so does a cluster
in etcd; an orchestrator waits at its start for as long as its workers may take.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend
from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.discovery.stores import discovery_facts
from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.engines.trtllm import CONFIG_FILE
from disagg_operator.plan.environment import derived
from disagg_operator.plan.facts import applicable, provenance
from disagg_operator.plan.frontends.family import HOME, Family, Wiring, Workers, wired
from disagg_operator.plan.frontends.orchestrator import ORCHESTRATOR_FILE, Cluster, orchestrator_file, release
from disagg_operator.plan.launch.scripts import LOOPBACK
from disagg_operator.plan.model import (
    PREFILL,
    EnvSetting,
    Mount,
    Port,
    PreparePlan,
    Probe,
    Provenance,
)
from disagg_operator.plan.programs.source import script
from disagg_operator.platforms.profile import Component

KEY = "internal_request_auth_key"
"""Key of both files that holds the key of requests."""
CLUSTER = "disagg_cluster"
"""Key of both files that says where workers register."""
KEY_FILE = "key"
"""Key of the Secret."""
_KEY_FOLDER = "/etc/disagg-key"
_COMPLETE_FOLDER = "/run/disagg"
_ROLES = {PREFILL: "CONTEXT"}
_SPARE_SECONDS = 60
_SERVE = "TensorRT-LLM, tensorrt_llm/commands/serve.py"
_COMPLETE = Mount("complete", _COMPLETE_FOLDER, {"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}})


def worker(basis: Basis, role: str, revision: str) -> Wiring:
    """Return how a worker of a role and revision takes part.

    Raises:
        Refusal: the user writes what belongs to the operator.
    """
    _refuse_own(basis, role)
    component = basis.runtime.worker
    port = Port("http", component.port)
    registers = _in_etcd(basis)
    # It registers under the address that it listens on.
    host = "$(POD_IP)" if registers else "0.0.0.0"  # noqa: S104 - inside a pod
    further = {CLUSTER: _cluster(basis, revision).settings} if registers else {}
    folder, mounts, prepare = _files(basis, CONFIG_FILE, further)
    arguments = ["--extra_llm_api_options", f"{folder}/{CONFIG_FILE}", "--host", host]
    arguments += ["--port", str(port.number)]
    if registers:
        arguments += ["--server_role", _ROLES.get(role, "GENERATION")]
    return replace(
        wired(component, (), _environment(basis, component), port, {}),
        arguments=tuple(arguments),
        address="$POD_IP" if registers else LOOPBACK,
        mounts=mounts,
        prepare=prepare,
    )


def front_door(basis: Basis, workers: Workers) -> Wiring:
    """Return how the orchestrator of some workers runs.

    Raises:
        Refusal: the release cannot route or be configured as is asked.
    """
    component = basis.runtime.frontend
    port = Port("http", basis.spec.frontend.port)
    cluster = _cluster(basis, workers.revision) if _in_etcd(basis) else None
    file = orchestrator_file(basis, workers, cluster)
    folder, mounts, prepare = _files(basis, ORCHESTRATOR_FILE, {})
    start = max(_seconds(role.pod.startup) for role in workers.roles.values())
    request = basis.drain.request_seconds + basis.spec.transfer.timeout_seconds
    command = (
        *("trtllm-serve", "disaggregated", "-c", f"{folder}/{ORCHESTRATOR_FILE}"),
        *("--server_start_timeout", str(start), "--request_timeout", str(request)),
    )
    wiring = wired(component, command, _environment(basis, component), port, {})
    failures = -(-(start + _SPARE_SECONDS) // wiring.startup.period)
    return replace(
        wiring,
        startup=replace(wiring.startup, failures=failures),
        mounts=mounts,
        prepare=prepare,
        files={ORCHESTRATOR_FILE: file.text},
        settings=file.settings,
        reads_model=file.reads_model,
    )


def has_key(basis: Basis) -> bool:
    """Tell whether orchestrator and workers share a key."""
    return release(basis).request_key is not None


FAMILY = Family(worker, front_door, has_key=has_key)


def _in_etcd(basis: Basis) -> bool:
    return basis.discovery.backend == DiscoveryBackend.ETCD


def _cluster(basis: Basis, revision: str) -> Cluster:
    """Return where the workers of a revision register.

    Raises:
        Refusal: the etcd is reached in a way that TensorRT-LLM's client does not know.
    """
    for index, endpoint in enumerate(basis.discovery.etcd_endpoints):
        if urlsplit(endpoint).scheme != "http":
            field = f"spec.discovery.etcd.endpoints[{index}]"
            fault = "TensorRT-LLM's client of etcd speaks no TLS"
            raise Refusal([Problem(field, fault, "Write an http:// URL", "etcd-without-tls")])
    uris = (f"etcd://{urlsplit(endpoint).netloc}" for endpoint in basis.discovery.etcd_endpoints)
    return Cluster(",".join(uris), f"{basis.dynamo_namespace}-{revision}")


def _files(
    basis: Basis, name: str, further: Mapping[str, object]
) -> tuple[str, tuple[Mount, ...], PreparePlan | None]:
    """Return the folder of a configuration file, the volumes for it, and what completes it.

    Args:
        basis: what the deployment's pods have in common.
        name: name of the file.
        further: what it is to hold beside what is in the ConfigMap.
    """
    key = release(basis).request_key
    if key is None and not further:
        return CONFIG_FOLDER, (), None
    files = (f"{CONFIG_FOLDER}/{name}", f"{_COMPLETE_FOLDER}/{name}")
    command = ["python3", "-c", script("complete_settings.py"), *files, json.dumps(further)]
    if key is None:
        why = Provenance("Workers register by their revision, which is part of no file.", _SERVE)
        return _COMPLETE_FOLDER, (_COMPLETE,), PreparePlan(tuple(command), why)
    secret = {"secret": {"secretName": names.request_key(basis.name)}}
    mount = Mount("request-key", _KEY_FOLDER, secret, read_only=True, provenance=provenance(key))
    command.append(f"{KEY}={_KEY_FOLDER}/{KEY_FILE}")
    return _COMPLETE_FOLDER, (_COMPLETE, mount), PreparePlan(tuple(command), provenance(key))


def _environment(basis: Basis, component: Component) -> tuple[EnvSetting, ...]:
    facts = discovery_facts(basis.discovery)
    variables = applicable((*basis.runtime.environment, *component.environment), facts)
    return derived(variables, {**facts, "home": HOME})


def _refuse_own(basis: Basis, role: str) -> None:
    for key in (KEY, CLUSTER):
        if key in basis.specs[role].engine_config:
            fault = "belongs to the operator, since orchestrator and workers of both roles must agree on it"
            raise Refusal(
                [Problem(f"spec.{role}.engineConfig.{key}", fault, "Leave it out", "serve-keys-derived")]
            )


def _seconds(probe: Probe) -> int:
    return probe.period * probe.failures
