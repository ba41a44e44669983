"""The command: makes a release of a checkout, or says or sets its version."""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from releasing import version as versions
from releasing.bills import write_bills
from releasing.chart import package_chart
from releasing.checksums import digests, write_statement, write_sums
from releasing.commands import ReleaseError
from releasing.images import build_images, docker_works
from releasing.krew import write_manifest
from releasing.plugin import PLATFORMS, Platform, pack_plugin
from releasing.source import Source, source_of
from releasing.wheels import build_wheels

Say = Callable[[str], object]


def crd_bundle(root: Path) -> str:
    """Return all CustomResourceDefinitions as one file, for `kubectl apply --server-side`."""
    files = sorted((root / "crds").glob("*.yaml"))
    return "---\n".join(path.read_text(encoding="utf-8").removeprefix("---\n") for path in files)


def make_release(
    source: Source, folder: Path, platforms: Iterable[Platform], images: Sequence[str], say: Say
) -> None:
    """Make all parts of a release.

    Args:
        source: what it is made from.
        folder: where its files go; emptied first.
        platforms: what kubectl-disagg is packed for.
        images: platforms of the images.
        say: told of what cannot be made here.

    Raises:
        ReleaseError: if a part cannot be made.
    """
    wrong = list(versions.disagreements(source.root))
    if wrong:
        raise ReleaseError("; ".join(wrong) + ". Run `make set-version NAME=…`")
    version = versions.current(source.root)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (wheel,) = (path for path in build_wheels(source, folder) if path.name.startswith("disagg_operator-"))
    packed = [pack_plugin(source, folder, version, wheel, each) for each in platforms]
    package_chart(source, folder, version)
    (folder / "crds.yaml").write_text(crd_bundle(source.root), encoding="utf-8")
    write_bills(source, folder / "sbom")
    if source.url:
        sums = digests(folder)
        write_manifest(folder, version, source.url, {path.name: sums[path.name] for path in packed})
    else:
        say("No krew manifest: REPOSITORY_URL=https://… does not say where the release will be.")
    parameters = {"version": version, "plugin": " ".join(each.name for each in platforms)}
    if source.registry:
        parameters["registry"] = source.registry
    if not images:
        say("No images, as asked.")
    elif docker_works(source.root):
        build_images(source, folder / "images", version, images)
        parameters["images"] = " ".join(images)
    else:
        say("No images: there is no Docker with buildx. The release workflow makes them; docs/releases.md.")
    write_statement(source, folder, parameters)
    write_sums(folder)


def main() -> int:
    """Run the command and return its exit status."""
    known = {each.name: each for each in PLATFORMS}
    parser = argparse.ArgumentParser(prog="python -m releasing", description=__doc__)
    parser.add_argument("--root", type=Path, default=Path(), help="the checkout (default: here)")
    parser.add_argument(
        "--out", type=Path, default=Path("dist"), help="folder of the release (default: dist)"
    )
    parser.add_argument("--snapshot", action="store_true", help="take files that differ from the commit")
    parser.add_argument("--platforms", nargs="+", choices=known, default=[*known], help="of kubectl-disagg")
    parser.add_argument(
        "--images", nargs="*", default=["linux/amd64", "linux/arm64"], help="of the images; none: no images"
    )
    parser.add_argument("--version", action="store_true", help="print the version, and make nothing")
    parser.add_argument("--set-version", metavar="VERSION", help="write another version into all places")
    arguments = parser.parse_args()
    root = arguments.root.resolve()
    try:
        if arguments.set_version:
            versions.write(root, arguments.set_version)
        elif arguments.version:
            sys.stdout.write(f"{versions.current(root)}\n")
        else:
            source = source_of(root, snapshot=arguments.snapshot)
            platforms = [known[name] for name in arguments.platforms]
            folder = arguments.out.resolve()
            make_release(
                source, folder, platforms, arguments.images, lambda text: sys.stderr.write(f"{text}\n")
            )
            sys.stdout.write((folder / "SHA256SUMS").read_text(encoding="utf-8"))
    except ReleaseError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
