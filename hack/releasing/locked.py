"""What uv.lock says of the packages that parts of a release hold."""

from collections.abc import Sequence
from pathlib import Path

from releasing.commands import output, uv

NOT_OF_PLUGIN = ("kopf", "prometheus-client", "cryptography", "python-json-logger")
"""What only the operator itself needs, and not kubectl-disagg; a test runs it without them."""


def export(root: Path, form: str, without: Sequence[str]) -> str:
    """Return the locked packages that the operator needs, with their hashes.

    Args:
        root: the checkout.
        form: how they are written, of `uv export --format`.
        without: packages that are left out, with what nothing else needs.
    """
    pruned = [word for name in without for word in ("--prune", name)]
    argv = [uv(), "export", "--quiet", "--locked", "--package", "disagg-operator", "--no-dev"]
    return output([*argv, "--no-emit-workspace", "--format", form, *pruned], root)
