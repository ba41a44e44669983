"""Simulated evidence: counters as EFA, mlx5, NVLink and interfaces would move them, for one worker each role.

Nothing here was measured on such hardware; names and units of counters are the kernel's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.verify.canary import Answer, Canary
from disagg_operator.verify.evidence import Evidence
from disagg_operator.verify.judge import judge
from disagg_operator.verify.logs import LogFindings, findings
from disagg_operator.verify.paths import DECODE, PREFILL, Looks, Window
from disagg_operator.verify.verdict import Verdict

TOKENS = 512
EXPECTED = 80 * 1024 * 1024
ANSWERED = Answer("the quick brown fox")
CANARY = Canary(TOKENS, float(EXPECTED), ANSWERED, ANSWERED, seconds=0.5)
ROLES = {"p-0": PREFILL, "d-0": DECODE}
EFA = Promise(frozenset({Transport.UCX_SRD}), devices=4, gpus=4, rails=True)
PLUGIN = "/opt/nixl/plugins/libplugin_{}.so"

Change = Callable[["Pod"], None]


@dataclass
class Pod:
    """Counters of one pod, which tests move."""

    devices: dict[str, dict[str, Any]] = field(default_factory=dict)
    interfaces: dict[str, dict[str, int]] = field(
        default_factory=lambda: {"eth0": {"txBytes": 5_000_000, "rxBytes": 7_000_000}}
    )
    links: list[dict[str, int]] = field(default_factory=list)
    nixl: dict[str, Any] = field(default_factory=dict)
    engine: dict[str, Any] | None = None
    plugins: tuple[str, ...] = ("UCX",)

    def evidence(self) -> Evidence:
        """Return what an agent would tell now."""
        return Evidence.model_validate(self.document())

    def document(self) -> dict[str, Any]:
        """Return the JSON that an agent would tell now."""
        libraries = [{"kind": "nixl-plugin", "path": PLUGIN.format(plugin)} for plugin in self.plugins]
        return {
            "version": 1,
            "time": 1764100000.5,
            "devices": [
                {**device, "name": name, "counters": dict(device["counters"])}
                for name, device in self.devices.items()
            ],
            "interfaces": [{"name": name, **counts} for name, counts in self.interfaces.items()],
            "processes": [{"pid": 7, "name": "python3", "libraries": libraries}],
            "nvlink": {"available": bool(self.links), "links": [dict(link) for link in self.links]},
            "nixl": {"available": bool(self.nixl), **self.nixl},
            "engine": self.engine,
        }


def device(kind: str = "efa", *, given: bool | None = True, **counters: int) -> dict[str, Any]:
    return {"kind": kind, "given": given, "counters": {"tx_bytes": 1000, "rx_bytes": 1000, **counters}}


def efa_pod(devices: int = 4, **options: Any) -> Pod:
    return Pod({f"rdmap{40 + number}s0": device() for number in range(devices)}, **options)


def sends(total: int, *names: str, counter: str = "tx_bytes") -> Change:
    """Let devices or interfaces move a number of bytes, in equal parts."""

    def change(pod: Pod) -> None:
        for name in names:
            if name in pod.devices:
                pod.devices[name]["counters"][counter] += total // len(names)
            else:
                pod.interfaces[name]["txBytes" if counter == "tx_bytes" else "rxBytes"] += total // len(names)

    return change


def receives(total: int, *names: str) -> Change:
    return sends(total, *names, counter="rx_bytes")


def both(*changes: Change) -> Change:
    def change(pod: Pod) -> None:
        for each in changes:
            each(pod)

    return change


def nothing(_: Pod) -> None:
    """Move nothing."""


def window(
    prefill: Pod,
    decode: Pod,
    *,
    prefill_does: Change = nothing,
    decode_does: Change = nothing,
    background: Mapping[str, Change] | None = None,
) -> Window:
    """Look three times at two pods.

    Args:
        prefill: the pod that KV cache leaves.
        decode: the pod at which it arrives.
        prefill_does: what happens in the one while the canary runs.
        decode_does: what happens in the other.
        background: what happens in each pod in the quiet time, and again while the canary runs.
    """
    pods = {"p-0": prefill, "d-0": decode}

    def look() -> Looks:
        return {name: pod.evidence() for name, pod in pods.items()}

    def stir() -> None:
        for name, change in (background or {}).items():
            change(pods[name])

    first = look()
    stir()
    before = look()
    stir()
    prefill_does(prefill)
    decode_does(decode)
    return Window(ROLES, first, before, look(), quiet_seconds=2.0, seconds=2.0)


def judged(
    seen: Window, promise: Promise = EFA, canary: Canary | None = CANARY, log: str | LogFindings = ""
) -> Verdict:
    found = findings(log) if isinstance(log, str) else log
    return judge({PREFILL: promise, DECODE: promise}, seen, canary, {"d-0": found})


RAILS = ("rdmap40s0", "rdmap41s0", "rdmap42s0", "rdmap43s0")
