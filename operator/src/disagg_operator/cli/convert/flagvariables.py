"""Flags of Dynamo that have a variable of the same meaning, by which the resource can say them.

Source: wheels of ai-dynamo, dynamo/common/configuration/groups/runtime_args.py (1.0.1 to 1.6.1) and
kv_router_args.py (1.1.1 to 1.6.1; the flags below are in all of them but where a newer version is named), and
dynamo/frontend/frontend_args.py (the migration limit).
"""

from packaging.version import Version

from disagg_operator.cli.convert.command import Flag
from disagg_operator.cli.convert.draft import Draft

_RUNTIME = Version("1.0.1")
_ROUTER = Version("1.1.1")

WORKER = {
    "--dyn-tool-call-parser": ("DYN_TOOL_CALL_PARSER", _RUNTIME),
    "--dyn-reasoning-parser": ("DYN_REASONING_PARSER", _RUNTIME),
    "--custom-jinja-template": ("DYN_CUSTOM_JINJA_TEMPLATE", _RUNTIME),
    "--endpoint-types": ("DYN_ENDPOINT_TYPES", _RUNTIME),
    "--dyn-endpoint-types": ("DYN_ENDPOINT_TYPES", _RUNTIME),
}
"""Variable, and the first release that reads it, by the flag of a worker."""

FRONTEND = {
    "--migration-limit": ("DYN_MIGRATION_LIMIT", _RUNTIME),
    "--router-temperature": ("DYN_ROUTER_TEMPERATURE", _ROUTER),
    "--router-queue-threshold": ("DYN_ROUTER_QUEUE_THRESHOLD", _ROUTER),
    "--router-queue-policy": ("DYN_ROUTER_QUEUE_POLICY", _ROUTER),
    "--router-ttl-secs": ("DYN_ROUTER_TTL_SECS", _ROUTER),
    "--router-event-threads": ("DYN_ROUTER_EVENT_THREADS", _ROUTER),
    "--router-prefill-load-model": ("DYN_ROUTER_PREFILL_LOAD_MODEL", _ROUTER),
    "--router-track-active-blocks": ("DYN_ROUTER_TRACK_ACTIVE_BLOCKS", _ROUTER),
    "--router-track-output-blocks": ("DYN_ROUTER_TRACK_OUTPUT_BLOCKS", _ROUTER),
    "--router-track-prefill-tokens": ("DYN_ROUTER_TRACK_PREFILL_TOKENS", _ROUTER),
    "--router-assume-kv-reuse": ("DYN_ROUTER_ASSUME_KV_REUSE", _ROUTER),
    "--router-kv-overlap-score-credit": ("DYN_ROUTER_KV_OVERLAP_SCORE_CREDIT", Version("1.2.1")),
    "--router-prefill-load-scale": ("DYN_ROUTER_PREFILL_LOAD_SCALE", Version("1.2.1")),
}
"""The same, by the flag of a frontend."""


def by_variable(draft: Draft, flag: Flag, known: dict[str, tuple[str, Version]]) -> dict[str, str] | None:
    """Return the variable that says a flag, in the shape of a field ``env``; None where none does.

    Args:
        draft: holds the release, which is the newest where it names none.
        flag: the flag; ``--no-NAME`` turns a switch off.
        known: the flags with their variables.
    """
    off = flag.name.startswith("--no-")
    found = known.get(f"--{flag.name.removeprefix('--no-')}" if off else flag.name)
    version = draft.read("spec.runtime.version")
    if found is None or (version is not None and Version(version) < found[1]):
        return None
    return {"name": found[0], "value": "false" if off else flag.value or "true"}
