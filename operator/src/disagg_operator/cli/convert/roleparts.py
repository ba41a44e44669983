"""The workers of a role: how many, on how many nodes and GPUs, and their engine's configuration."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.quantities import quantity
from disagg_operator.api.v1alpha1.variables import BACKENDS
from disagg_operator.cli.convert import flagvariables
from disagg_operator.cli.convert.bundle import Bundle
from disagg_operator.cli.convert.command import Flag, open_command, typed
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.enginefiles import engine_file
from disagg_operator.cli.convert.engines import ENGINES, MODEL_FLAGS, SIZES, EngineFlags
from disagg_operator.cli.convert.flagvariables import by_variable
from disagg_operator.cli.convert.graph import GPU
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Worker
from disagg_operator.cli.convert.variables import read_request_plane

_TRANSCEIVER = "cache_transceiver_config"
_NO_FIELD = "the API has no field for it: where you need it, replace the command in spec.{role}.podTemplate"
_ONE = "1 is what there is without it"
_REQUEST_PLANE = "--request-plane"
_CONNECTOR = "--kv-transfer-config"
_NIXL_CONNECTOR = "NixlConnector"


def write_role(draft: Draft, worker: Worker, bundle: Bundle, engine: str) -> None:
    """Write a role but for its environment and its pods."""
    role, component = worker.role, worker.component
    replicas = component.part["replicas"]
    if replicas:
        draft.write(f"spec.{role}.replicas", replicas.value, replicas)
    nodes = component.part.at("multinode", "nodeCount")
    if nodes:
        draft.write(f"spec.{role}.nodesPerReplica", nodes.value, nodes)
    known = ENGINES.get(engine, EngineFlags(sizes={}))
    sizes = _Sizes(draft, role)
    _read_flags(draft, worker, known, sizes)
    _read_files(draft, worker, bundle, known, sizes)
    _write_gpus(draft, worker, sizes)


class _Sizes:
    """The parallel sizes of a role, as far as they were found."""

    def __init__(self, draft: Draft, role: str) -> None:
        self._draft = draft
        self._role = role
        self.found: dict[str, int] = {}
        self.expert_switch: Part | None = None

    def take(self, size: str, part: Part, value: Any) -> None:
        """Write a size; a later one wins."""
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            self.found[size] = value
            self._draft.note(f"spec.{self._role}.parallelism.{size}", part)
        else:
            self._draft.ledger.dropped(part, "is no size")

    def write(self) -> None:
        """Write the sizes that are not 1, which is the default."""
        if self.expert_switch is not None:
            self.take("expert", self.expert_switch, self.found.get("tensor", 1))
        for size in SIZES:
            if self.found.get(size, 1) > 1:
                self._draft.write(f"spec.{self._role}.parallelism.{size}", self.found[size])

    @property
    def ranks(self) -> int:
        """Number of ranks: the product of all sizes but that of experts, which share the others' GPUs."""
        ranks = 1
        for size in SIZES[:-1]:
            ranks *= self.found.get(size, 1)
        return ranks


def _read_flags(draft: Draft, worker: Worker, known: EngineFlags, sizes: _Sizes) -> None:
    open_command(draft.ledger, worker.component, worker.command)
    if worker.command.program is not None:
        draft.note("spec.runtime.engine", worker.command.program)
    why = "a step of the shell; the operator starts the worker without one"
    draft.dropped(worker.command.steps, why)
    for flag in worker.command.flags:
        if flag.name not in (*MODEL_FLAGS, *known.file, *known.override):
            _read_flag(draft, worker.role, known, sizes, flag)


def _read_flag(draft: Draft, role: str, known: EngineFlags, sizes: _Sizes, flag: Flag) -> None:
    size = next((size for size, flags in known.sizes.items() if flag.name in flags), None)
    if size is not None:
        sizes.take(size, flag.part, typed(flag.value))
    elif flag.name == known.expert_switch:
        sizes.expert_switch = flag.part
    elif flag.name == _REQUEST_PLANE:
        read_request_plane(draft, flag.value, flag.part)
    elif flag.name == _CONNECTOR:
        _read_connector(draft, flag)
    elif flag.name in known.derived:
        draft.ledger.derived(flag.part, known.derived[flag.name])
    elif flag.name in known.dropped:
        _drop(draft, flag, known.dropped[flag.name])
    elif flag.name in known.settings:
        draft.offer(role, "setting", known.settings[flag.name], typed(flag.value), flag.part)
    elif flag.name in known.names and flag.value == "1":
        draft.ledger.derived(flag.part, _ONE)
    elif known.any_flag and flag.name.startswith("--"):
        name, value = _argument(known, flag)
        draft.offer(role, "setting", name, value, flag.part)
    elif (variable := by_variable(draft, flag, flagvariables.WORKER)) is not None:
        draft.offer(role, "variable", variable["name"], variable, flag.part)
    else:
        draft.ledger.dropped(flag.part, _NO_FIELD.format(role=role))


def _argument(known: EngineFlags, flag: Flag) -> tuple[str, Any]:
    """Return a flag as an entry of ``engineConfig``."""
    name = known.names.get(flag.name, flag.name).removeprefix("--")
    if known.negates and name.startswith("no-") and not flag.value:
        return name.removeprefix("no-"), False
    return name, typed(flag.value)


def _drop(draft: Draft, flag: Flag, why: str) -> None:
    if flag.value == "1":
        draft.ledger.derived(flag.part, _ONE)
    else:
        draft.ledger.dropped(flag.part, why)


def _read_connector(draft: Draft, flag: Flag) -> None:
    """Read vLLM's --kv-transfer-config, which the operator writes for ``spec.transfer``."""
    config = typed(flag.value)
    name = config.get("kv_connector") if isinstance(config, dict) else None
    if not isinstance(config, dict) or name != _NIXL_CONNECTOR:
        draft.ledger.dropped(
            flag.part, f"KV cache moves by {_NIXL_CONNECTOR}, not by {name or 'what is here'}"
        )
        return
    extra = config.get("kv_connector_extra_config")
    backends = extra.get("backends") if isinstance(extra, dict) else None
    if isinstance(backends, list) and backends and backends[0] in BACKENDS:
        draft.write("spec.transfer.nixlBackend", backends[0], flag.part)
    else:
        draft.ledger.derived(flag.part, "the operator writes it for spec.transfer")


def _read_files(draft: Draft, worker: Worker, bundle: Bundle, known: EngineFlags, sizes: _Sizes) -> None:
    named = worker.command.flag(*known.file) if known.file else None
    if named is not None:
        found = engine_file(draft, worker, bundle, named.value)
        if isinstance(found, str):
            draft.ledger.dropped(named.part, found)
        else:
            draft.note(f"spec.{worker.role}.engineConfig", named.part)
            if found.volume is not None:
                draft.note(f"spec.{worker.role}.engineConfig", found.volume.mount, found.volume.source)
            _read_settings(draft, worker, known, sizes, found.content)
    override = worker.command.flag(*known.override) if known.override else None
    if override is not None:
        _read_override(draft, worker, known, sizes, override)


def _read_override(draft: Draft, worker: Worker, known: EngineFlags, sizes: _Sizes, flag: Flag) -> None:
    try:
        content = json.loads(flag.value)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        draft.ledger.dropped(flag.part, "is no JSON object")
        return
    part = Part(flag.part.document, flag.part.keys, content)
    draft.ledger.opened(flag.part, (inner for _, inner in part.items()))
    _read_settings(draft, worker, known, sizes, part)


def _read_settings(draft: Draft, worker: Worker, known: EngineFlags, sizes: _Sizes, content: Part) -> None:
    by_key = {key: size for size, key in known.size_keys.items()}
    for key, part in _settings(content):
        if key in by_key:
            sizes.take(by_key[key], part, part.value)
        elif key.startswith(f"{_TRANSCEIVER}."):
            _read_transceiver(draft, worker.role, key.removeprefix(f"{_TRANSCEIVER}."), part)
        else:
            draft.offer(worker.role, "setting", key, part.value, part)


def _settings(content: Part, prefix: str = "") -> Iterator[tuple[str, Part]]:
    for key, part in content.items():
        if isinstance(part.value, Mapping) and part.value:
            yield from _settings(part, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", part


def _read_transceiver(draft: Draft, role: str, key: str, part: Part) -> None:
    """Read a setting of TensorRT-LLM's cache_transceiver_config, which both roles share."""
    if key == "backend":
        method = part.text.upper()
        if method == "DEFAULT":
            why = "DEFAULT depends on variables of the image: the release's own library is written instead"
            draft.ledger.derived(part, why, "spec.transfer.method")
        else:
            draft.write("spec.transfer.method", method, part)
    elif key == "max_tokens_in_buffer" and isinstance(part.value, int):
        known = draft.read("spec.transfer.maxTokensInBuffer")
        why = "" if known in (None, part.value) else "both roles have the larger of their two buffers"
        draft.write("spec.transfer.maxTokensInBuffer", max(known or 0, part.value), part, why=why)
    elif key == "kv_transfer_timeout_ms" and isinstance(part.value, int):
        seconds = max(-(-part.value // 1000), 1)
        draft.write("spec.transfer.timeoutSeconds", seconds, part)
    else:
        draft.offer(role, "setting", f"{_TRANSCEIVER}.{key}", part.value, part)


def _write_gpus(draft: Draft, worker: Worker, sizes: _Sizes) -> None:
    counts = [
        (name, part) for kind in ("limits", "requests") for name, part in worker.component.amounts(kind)
    ]
    parts = [part for name, part in counts if name == GPU]
    if parts:
        _write_counts(draft, worker, sizes, parts)
    sizes.write()


def _write_counts(draft: Draft, worker: Worker, sizes: _Sizes, parts: list[Part]) -> None:
    gpus = int(quantity(parts[0].value) or 0)
    draft.write(f"spec.{worker.role}.gpusPerNode", gpus, *parts)
    nodes = draft.read(f"spec.{worker.role}.nodesPerReplica") or 1
    if "tensor" not in sizes.found and gpus * nodes % sizes.ranks == 0:
        tensor = sizes.found["tensor"] = gpus * nodes // sizes.ranks
        if tensor > 1:
            how = f"nothing says it, and the {worker.role} worker has {gpus * nodes} GPUs: check it"
            draft.choose(f"{worker.role} tensor parallel size", str(tensor), how)
