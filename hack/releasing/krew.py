"""The manifest by which krew, kubectl's plugin manager, installs kubectl-disagg."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from releasing.plugin import PLATFORMS, PYTHONS, Platform, archive_name

FILE = "disagg.yaml"
_OLDEST, _NEWEST = (f"{major}.{minor}" for major, minor in (PYTHONS[0], PYTHONS[-1]))
_CAVEATS = f"""\
It needs a Python of {_OLDEST} to {_NEWEST}: python3 on the PATH, or the one that DISAGG_PYTHON names.

To have the shell complete commands and names, put the second program where kubectl finds it:
  ln -s "${{KREW_ROOT:-$HOME/.krew}}/store/disagg/@VERSION@/kubectl_complete-disagg" \\
    "${{KREW_ROOT:-$HOME/.krew}}/bin/"
"""


def write_manifest(folder: Path, version: str, page: str, sums: Mapping[str, str]) -> Path:
    """Write the manifest into a folder and return its path.

    Args:
        folder: where it goes.
        version: of the release.
        page: web page of the repository, under which releases are.
        sums: SHA-256 of the archives by name.
    """
    present = [each for each in PLATFORMS if archive_name(version, each) in sums]
    manifest = {
        "apiVersion": "krew.googlecontainertools.github.com/v1alpha2",
        "kind": "Plugin",
        "metadata": {"name": "disagg"},
        "spec": {
            "version": f"v{version}",
            "homepage": page,
            "shortDescription": "Disaggregated LLM serving: render, verify, diagnose",
            "description": (
                "Renders, checks and sizes deployments of disaggregated LLM serving without a cluster,\n"
                "and shows, verifies and diagnoses those of the Disagg Operator.\n"
            ),
            "caveats": _CAVEATS.replace("@VERSION@", f"v{version}"),
            "platforms": [_platform(each, version, page, sums) for each in present],
        },
    }
    path = folder / FILE
    path.write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")
    return path


def _platform(platform: Platform, version: str, page: str, sums: Mapping[str, str]) -> dict[str, object]:
    archive = archive_name(version, platform)
    return {
        "selector": {"matchLabels": {"os": platform.system, "arch": platform.machine}},
        "uri": f"{page}/releases/download/v{version}/{archive}",
        "sha256": sums[archive],
        "bin": "kubectl-disagg",
    }
