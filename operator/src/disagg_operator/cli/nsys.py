"""The command line of NVIDIA Nsight Systems (``nsys profile``) for a worker. Pure.

The flags are those of Chris Fregly, AI Systems Performance Engineering (O'Reilly), chapter 17, "Scaling
Disaggregated Prefill and Decode for Inference", as quoted by "KV cache transfer with NIXL" ("Maintain /
validate"), which says of them that none were exercised on hardware in its writing. Releases of nsys differ in
the flags that they know, so that those are passed that its ``--help`` names.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

FLAGS = (
    "--trace=cuda-hw,osrt,nvtx,ucx,gds",
    "--trace-fork-before-exec=true",
    "--cuda-event-trace=true",
    "--cuda-graph-trace=node",
    "--cuda-memory-usage=true",
    "--sample=cpu",
    "--gpu-metrics-device=all",
    "--nic-metrics=true",
    "--storage-metrics",
    "--storage-devices=all",
    "--gds-metrics=driver",
)
"""As the source has them; its ``--ib-switch-metrics-device=<GUIDs>`` is passed where GUIDs are given."""
IB_SWITCH = "--ib-switch-metrics-device"
_NAMED = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


@dataclass(frozen=True)
class Chosen:
    """Flags of one run.

    Attributes:
        flags: what is passed.
        left_out: what this nsys does not know.
    """

    flags: tuple[str, ...]
    left_out: tuple[str, ...]


def choose(help_text: str, own: Sequence[str] = (), switches: str = "") -> Chosen:
    """Return the flags for an nsys.

    Args:
        help_text: what ``nsys profile --help`` prints.
        own: flags of the user's, such as ``--sample=none``, each of which takes the place of one of ours.
        switches: GUIDs of InfiniBand switches, with commas.
    """
    known = set(_NAMED.findall(help_text))
    replaced = {_name(flag) for flag in own}
    wanted = [*FLAGS, *([f"{IB_SWITCH}={switches}"] if switches else [])]
    flags, left_out = [], []
    for flag in wanted:
        if _name(flag) in replaced:
            continue
        spelled = _spelled(flag, known)
        if spelled:
            flags.append(spelled)
        else:
            left_out.append(flag)
    return Chosen((*flags, *own), tuple(left_out))


def _name(flag: str) -> str:
    return flag.partition("=")[0]


def _spelled(flag: str, known: set[str]) -> str:
    """Return a flag as this nsys spells it, with or without a plural s, or nothing if it knows none such."""
    name, equals, value = flag.partition("=")
    return next((f"{each}{equals}{value}" for each in (name, f"{name}s") if each in known), "")
