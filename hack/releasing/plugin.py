"""kubectl-disagg as one archive a platform, which krew unpacks, or anybody: it needs only a Python.

A zip file could not be run as it is, since compiled modules have to be files. An archive holds the modules
compiled for each Python that is supported: their names differ, so that all lie in one folder.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory

from releasing.archives import write_archive
from releasing.commands import ReleaseError, output, uv
from releasing.locked import NOT_OF_PLUGIN, export
from releasing.source import Source

PYTHONS = ((3, 11), (3, 12), (3, 13), (3, 14))
PROGRAMS = {
    "kubectl-disagg": "disagg_operator.cli.main",
    "kubectl_complete-disagg": "disagg_operator.cli.completion",
}
"""The programs, and the module whose `main` each one is."""
_LAUNCHER = Path(__file__).with_name("launcher.sh")
_KEPT_OF_METADATA = ("METADATA", "entry_points.txt", "LICENSE", "NOTICE", "COPYING", "AUTHORS", "licenses")


@dataclass(frozen=True)
class Platform:
    """A platform that kubectl-disagg is packed for.

    Attributes:
        system: its operating system, as krew and Go name it.
        machine: its architecture, as krew and Go name it.
        tag: what uv calls it.
    """

    system: str
    machine: str
    tag: str

    @property
    def name(self) -> str:
        """Its name in those of archives."""
        return f"{self.system}-{self.machine}"


PLATFORMS = (
    Platform("linux", "amd64", "x86_64-manylinux_2_28"),
    Platform("linux", "arm64", "aarch64-manylinux_2_28"),
    Platform("darwin", "amd64", "x86_64-apple-darwin"),
    Platform("darwin", "arm64", "aarch64-apple-darwin"),
)


def archive_name(version: str, platform: Platform) -> str:
    """Return the name of the archive for a platform."""
    return f"kubectl-disagg-{version}-{platform.name}.tar.gz"


def pack_plugin(source: Source, folder: Path, version: str, wheel: Path, platform: Platform) -> Path:
    """Write the archive for a platform into a folder and return its path.

    Args:
        source: what the release is made from.
        folder: where the archive goes.
        version: of the release.
        wheel: the operator's.
        platform: what it is for.
    """
    files = {name: content.encode() for name, content in _launchers()}
    files["LICENSE"] = (source.root / "LICENSE").read_bytes()
    packages = _packages(source, wheel, platform)
    files |= {f"lib/{name}": content for name, content in packages.items()}
    archive = folder / archive_name(version, platform)
    write_archive(archive, files, source.time, frozenset(PROGRAMS))
    return archive


def _launchers() -> Iterator[tuple[str, str]]:
    template = _LAUNCHER.read_text(encoding="utf-8")
    names = [f"{major}.{minor}" for major, minor in PYTHONS]
    for program, module in PROGRAMS.items():
        started = f"run_{module.rsplit('.', 1)[1]}.py"
        values = {
            "PROGRAM": program,
            "MODULE": started,
            "OLDEST": names[0],
            "NEWEST": names[-1],
            "NAMES": " ".join(f"python{name}" for name in reversed(names)),
            "RANGE": f"{PYTHONS[0]} <= sys.version_info[:2] <= {PYTHONS[-1]}",
        }
        text = template
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        yield program, text
        yield (
            f"lib/{started}",
            f"import sys\n\nsys.path.insert(0, __file__.rpartition('/')[0])\nsys.argv[0] = {program!r}\n"
            f"from {module} import main\n\nmain()\n",
        )


def _packages(source: Source, wheel: Path, platform: Platform) -> Mapping[str, bytes]:
    """Return the files of all packages, for all Pythons."""
    surplus = frozenset(output([sys.executable, "images/operator/trim.py", "--list"], source.root).split())
    wanted = requirements(export(source.root, "requirements.txt", NOT_OF_PLUGIN))
    merged: dict[str, bytes] = {}
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "requirements.txt"
        for major, minor in PYTHONS:
            version = f"{major}.{minor}"
            target = Path(scratch) / version
            argv: list[str | Path] = [uv(), "pip", "install", "--quiet", "--no-deps", "--target", target]
            argv += ["--python", sys.executable, "--python-version", version]
            argv += ["--python-platform", platform.tag, "--only-binary", ":all:"]
            file.write_text("\n".join(wanted.values()), encoding="utf-8")
            output([*argv, "--require-hashes", "--requirement", file], source.root)
            if not merged:
                output([*argv, wheel], source.root)
            for path in sorted(target.rglob("*")):
                name = str(path.relative_to(target))
                if not path.is_file() or name in surplus or not _is_kept(path.relative_to(target)):
                    continue
                content = path.read_bytes()
                if merged.setdefault(name, content) != content:
                    raise ReleaseError(f"{name} is another file for Python {version}: pack it apart")
            for name in _same_for_all(target):
                wanted.pop(name, None)
    return merged


def requirements(text: str) -> dict[str, str]:
    """Return the entries of a file of locked requirements by the name of the package."""
    entries = re.findall(r"^[\w.-]+==.*(?:\n[ \t].*)*", text, re.MULTILINE)
    return {entry.partition("==")[0]: entry for entry in entries}


def _same_for_all(target: Path) -> Iterator[str]:
    """Yield the names of the packages in a folder that are not compiled."""
    for found in distributions(path=[str(target)]):
        if "Root-Is-Purelib: true" in (found.read_text("WHEEL") or ""):
            yield found.name.lower().replace("_", "-")


def _is_kept(path: Path) -> bool:
    folder = path.parts[0]
    if folder.endswith(".dist-info"):
        return path.parts[1].startswith(_KEPT_OF_METADATA)
    return (len(path.parts) > 1 and folder != "bin") or path.suffix in {".py", ".so"}
