"""An engine's YAML file: from a ConfigMap that is mounted, or from the shell that writes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

import yaml

from disagg_operator.cli.convert.bundle import Bundle
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.graph import Volume
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.roles import Worker


@dataclass(frozen=True)
class EngineFile:
    """A file that was found.

    Attributes:
        content: what it holds, as a part of the document that it stands in.
        volume: the volume that holds it; None where the shell writes it.
    """

    content: Part
    volume: Volume | None


def engine_file(draft: Draft, worker: Worker, bundle: Bundle, path: str) -> EngineFile | str:
    """Return the file of a path in a worker's container, or why there is none to be had.

    Args:
        draft: notes that the file was read.
        worker: the worker.
        bundle: what stands beside the graph.
        path: path as the command has it.
    """
    absolute = str(PurePosixPath(worker.component.container["workingDir"].text or "/", path))
    written = worker.command.files.get(path)
    if written is not None:
        return _parsed(draft, written, None)
    volume = worker.component.volume_of(absolute)
    if volume is None:
        return f"{path} is a file of the image: copy what it says into spec.{worker.role}.engineConfig"
    if not volume.config_map:
        field = f"spec.{worker.role}.engineConfig"
        return f"{path} is on the volume at {volume.path}: copy what it says into {field}"
    document = bundle.config_maps.get(volume.config_map)
    if document is None:
        return f"ConfigMap {volume.config_map} is not in the file: put it there and convert again"
    key = _key(volume, absolute)
    text = document["data"][key]
    if not text:
        return f"ConfigMap {volume.config_map} has no key {key}"
    return _parsed(draft, text, volume)


def _key(volume: Volume, path: str) -> str:
    name = str(PurePosixPath(path).relative_to(PurePosixPath(volume.path)))
    if volume.mount["subPath"]:
        return volume.mount["subPath"].text
    for item in volume.source.at("configMap", "items").entries():
        if item["path"].text == name:
            return item["key"].text
    return name


def _parsed(draft: Draft, text: Part, volume: Volume | None) -> EngineFile | str:
    try:
        content = yaml.safe_load(text.text)
    except yaml.YAMLError:
        content = None
    if not isinstance(content, Mapping):
        return f"{text.path} is no YAML map"
    part = Part(text.document, text.keys, dict(content))
    draft.ledger.opened(
        text, (Part(text.document, (*text.keys, str(key)), value) for key, value in content.items())
    )
    return EngineFile(part, volume)
