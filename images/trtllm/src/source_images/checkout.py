"""What a Dynamo checkout is: its release, and what its build.sh understands."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from source_images.errors import ImageError
from testcluster.commands import output
from testcluster.errors import ClusterError

SCRIPT = Path("container/build.sh")
_OPTION = re.compile(r"^\s*(?:\S+ \| )*(--[a-z0-9-]+)\)", re.MULTILINE)
_FRAMEWORKS = re.compile(r"^declare -A FRAMEWORKS=\((.*)\)", re.MULTILINE)
_FRAMEWORK = re.compile(r'\["([A-Z_]+)"\]')
_DEFAULT_COMMIT = re.compile(r'^DEFAULT_EXPERIMENTAL_TRTLLM_COMMIT="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Checkout:
    """A folder with a Dynamo checkout.

    Args:
        folder: Where it is.
        description: What `git describe --tags` says of it; empty if that says nothing.
        options: Options that its build.sh takes.
        frameworks: Frameworks that its build.sh builds, in lower case.
        default_commit: The TensorRT-LLM that `--use-default-experimental-tensorrtllm-commit` stands for.
    """

    folder: Path
    description: str
    options: frozenset[str]
    frameworks: tuple[str, ...]
    default_commit: str

    @property
    def name(self) -> str:
        """The checkout in a sentence."""
        return f"{self.folder} ({self.description or 'at no release that git knows'})"

    @property
    def release(self) -> str | None:
        """The release that is checked out, such as `0.6.0`; nothing between two releases."""
        found = re.fullmatch(r"v?(\d+\.\d+\.\d+(?:\.post\d+)?)", self.description)
        return found.group(1) if found else None


def read_checkout(folder: Path) -> Checkout:
    """Look at a checkout.

    Raises:
        ImageError: If the folder is none, or of a release that has no build.sh.
    """
    if not folder.is_dir():
        raise ImageError(
            f"DYNAMO: there is no folder {folder}",
            remedy="git clone https://github.com/ai-dynamo/dynamo.git, and name the clone",
        )
    script = folder / SCRIPT
    description = _describe(folder)
    if not script.is_file():
        raise ImageError(
            f"DYNAMO: {folder} ({description or 'at no release that git knows'}) has no {SCRIPT}",
            remedy="name a checkout of ai-dynamo/dynamo before 1.0.0, or write ERA=nixl-default",
        )
    return parse(folder, description, script.read_text(encoding="utf-8"))


def parse(folder: Path, description: str, script: str) -> Checkout:
    """Read the text of a build.sh. Pure."""
    frameworks = _FRAMEWORKS.search(script)
    commit = _DEFAULT_COMMIT.search(script)
    return Checkout(
        folder=folder,
        description=description,
        options=frozenset(_OPTION.findall(script)),
        frameworks=tuple(name.lower() for name in _FRAMEWORK.findall(frameworks.group(1)))
        if frameworks
        else (),
        default_commit=commit.group(1) if commit else "",
    )


def _describe(folder: Path) -> str:
    with suppress(ClusterError):
        return output(["git", "-C", str(folder), "describe", "--tags", "--match", "v*"]).strip()
    return ""
