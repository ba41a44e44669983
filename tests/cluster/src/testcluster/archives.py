"""Container images written by hand: one static program, no builder needed."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from testcluster.digest import text_digest
from testcluster.providers.base import Image


def single_program_archive(reference: str, program: Path) -> bytes:
    """Build a docker-archive of an image that holds one static program and runs it.

    Args:
        reference: Name and tag of the image.
        program: The program; it becomes `/<name>`, the entry point, and what pods may name without a path.
    """
    layer = _tar({program.name: program.read_bytes()}, mode=0o755)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "Env": ["PATH=/"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    return _tar({name: config, "layer.tar": layer, "manifest.json": manifest}, mode=0o644)


def single_program_image(name: str, program: Path, folder: Path) -> Image:
    """Return the image of one static program by its content, made in a folder where it is not there yet."""
    tag = text_digest(program.read_bytes().hex())
    reference = f"disagg.local/{name}:{tag}"
    archive = folder / f"{name}-{tag}.tar"
    if not archive.exists():
        folder.mkdir(parents=True, exist_ok=True)
        archive.write_bytes(single_program_archive(reference, program))
    return Image(name, reference, archive)


def _tar(files: dict[str, bytes], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), mode
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()
