"""The checksums of a release, and the statement of what it was built from."""

import json
import os
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from releasing.source import Source

SUMS = "SHA256SUMS"
STATEMENT = "provenance.intoto.json"
_LOCKS = ("uv.lock", "images/base/runtime.packages", "images/base/builder.packages")
_BUILD = "https://disagg.dev/builds/make-release/v1"
_LOCAL = "https://disagg.dev/builders/somebody"


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file of a release by its name in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest() for path in paths}


def write_sums(folder: Path) -> None:
    """Write the checksums of all files of a folder, as `sha256sum --check` reads them."""
    lines = [f"{digest}  {name}\n" for name, digest in digests(folder).items()]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def write_statement(source: Source, folder: Path, parameters: Mapping[str, str]) -> None:
    """Write what the files of a folder were built from, by whom, and how.

    Args:
        source: the commit.
        folder: the release.
        parameters: what the build was asked for.
    """
    text = json.dumps(statement(source, digests(folder), parameters), indent=2)
    (folder / STATEMENT).write_text(f"{text}\n", encoding="utf-8")


def statement(source: Source, files: Mapping[str, str], parameters: Mapping[str, str]) -> dict[str, Any]:
    """Return an in-toto statement with a SLSA provenance; https://slsa.dev/spec/v1.1/provenance.

    It names no time of the build and no run: they would make each one differ.
    """
    commit: dict[str, Any] = {"name": "source", "digest": {"gitCommit": source.commit}}
    if source.url:
        commit["uri"] = f"git+{source.url}"
    if source.modified:
        commit["annotations"] = {"modified": True}
    locks = [
        {"name": name, "digest": {"sha256": sha256((source.root / name).read_bytes()).hexdigest()}}
        for name in _LOCKS
    ]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in files.items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": _BUILD,
                "externalParameters": dict(parameters),
                "resolvedDependencies": [commit, *locks],
            },
            "runDetails": {"builder": {"id": os.environ.get("BUILDER_ID") or _LOCAL}},
        },
    }
