"""Where things lie: build outputs that are kept (cache), cluster state that `down` removes (state, run).

Invariants: everything this package creates lies under one of the three folders; unix sockets lie under
`run`, whose path is short, because a socket's path may have 107 bytes at most.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]


@dataclass(frozen=True)
class Paths:
    """The folders in use.

    Args:
        cache: Build outputs by content; survives `down`.
        state: State of the embedded cluster.
        run: Sockets and runtime state of the embedded cluster.
    """

    cache: Path
    state: Path
    run: Path

    @property
    def logs(self) -> Path:
        """Logs of the embedded cluster's processes."""
        return self.state / "logs"

    @property
    def build_logs(self) -> Path:
        """Logs of builds."""
        return self.cache / "logs"


def paths_from(environment: Mapping[str, str]) -> Paths:
    """Read the folders from DISAGG_CACHE, DISAGG_STATE, XDG_CACHE_HOME and HOME."""
    home = Path(environment.get("HOME") or "/root")
    user_cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache")
    return Paths(
        cache=Path(environment.get("DISAGG_CACHE") or user_cache / "disagg-operator"),
        state=Path(environment.get("DISAGG_STATE") or "/var/lib/disagg-cluster"),
        run=Path("/run/disagg-cluster"),
    )


def default_paths() -> Paths:
    """The folders for this process's environment."""
    return paths_from(os.environ)
