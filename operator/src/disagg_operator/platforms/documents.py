"""Reads profiles from YAML, so that each value knows the line that it stands in.

A profile may be laid over another one of its folder: ``like: NAME`` takes all of that one, maps merge by key,
lists of named entries by name, and null removes a key. Of several names, each is laid over the one before.
"""

from collections.abc import Mapping
from typing import Any

import yaml

from disagg_operator.api.merge import merged
from disagg_operator.platforms.profile import Document

LIKE = "like"
_PROVENANCE = {"reason", "source"}


class Located(dict[Any, Any]):
    """A map that knows the file and line it began at."""

    line: str


class _Loader(yaml.CSafeLoader):
    """A safe loader that notes file and line of each map, and in it if it has a provenance."""

    file = ""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> Located:
    found = Located(loader.construct_mapping(node, deep=True))
    found.line = f"{loader.file}:{node.start_mark.line + 1}"
    if found.keys() >= _PROVENANCE:
        found["line"] = found.line
    return found


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read(text: str, file: str) -> Any:
    """Return what a YAML file holds.

    Args:
        text: content of the file.
        file: what the file is called in provenances.

    Raises:
        yaml.YAMLError: the text is not YAML.
    """
    loader = _Loader(text)
    loader.file = file
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def bases_of(document: Mapping[str, Any]) -> list[str] | None:
    """Return the names that a document is like; None if it holds something else there."""
    found = document.get(LIKE) or []
    names = [found] if isinstance(found, str) else found
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def resolved(name: str, documents: Mapping[str, Document]) -> Document:
    """Return a document laid over those that it is like.

    Args:
        name: name of the document among ``documents``.
        documents: documents by the name that ``like`` refers to.

    Raises:
        ValueError: a document is like one that is not there, or like itself.
    """
    return _resolved(name, documents, ())


def _resolved(name: str, documents: Mapping[str, Document], seen: tuple[str, ...]) -> Document:
    if name in seen:
        raise ValueError(f"like: a profile cannot be like itself: {' → '.join([*seen, name])}")
    if name not in documents:
        raise ValueError(f"like: there is no profile {name!r}. Write one of: {', '.join(sorted(documents))}")
    document = dict(documents[name])
    bases = document.pop(LIKE, ())
    laid: Document = {}
    for base in (bases,) if isinstance(bases, str) else bases:
        laid = merged(laid, _resolved(str(base), documents, (*seen, name)))
    return merged(laid, document) if laid else document
