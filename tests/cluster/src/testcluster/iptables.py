"""Removing the packet filter chains that kube-proxy and the CNI plugins made, and no others. Pure."""

import re
from collections.abc import Collection

OURS = re.compile(r"(KUBE|CNI)-")


def chains(saved: str) -> list[str]:
    """The user-defined and built-in chains in the output of `iptables-save`, as `table/chain`."""
    table, found = "", []
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:].strip()
        elif line.startswith(":"):
            found.append(f"{table}/{line[1:].split()[0]}")
    return found


def removal(saved: str, keep: Collection[str]) -> str:
    """Build the input of `iptables-restore --noflush` that removes our chains and the rules that name them.

    Args:
        saved: Output of `iptables-save`.
        keep: Chains as `table/chain` that were there before the cluster and stay.

    Returns:
        The script; empty if there is nothing to remove.
    """
    script: list[str] = []
    for block in re.split(r"(?m)^(?=\*)", saved):
        if block.startswith("*"):
            script += _table_removal(block.splitlines(), keep)
    return "\n".join([*script, ""]) if script else ""


def _table_removal(lines: list[str], keep: Collection[str]) -> list[str]:
    table = lines[0][1:].strip()
    doomed = {
        name
        for name in (line[1:].split()[0] for line in lines if line.startswith(":"))
        if OURS.match(name) and f"{table}/{name}" not in keep
    }
    if not doomed:
        return []
    rules = [line for line in lines if line.startswith("-A ")]
    outside = [
        f"-D {rule[3:]}" for rule in rules if rule.split()[1] not in doomed and doomed & set(rule.split())
    ]
    # Naming a chain empties it; only then, with no rule left that jumps to it, can it be deleted.
    flushed = [f":{name} - [0:0]" for name in sorted(doomed)]
    deleted = [f"-X {name}" for name in sorted(doomed)]
    return [f"*{table}", *flushed, *outside, *deleted, "COMMIT"]
