"""Joins docs/ and the rest of the repository in the site, so that pages read the same there and on GitHub.

A relative link means a file of the repository. It leads to the site's page where the file is one, to the
repository (REPOSITORY_URL) where it is not, and is a warning, which `--strict` makes an error, where there is
no such file. A link whose text is the name of a page's file shows the page's title. Without REPOSITORY_URL
the text of a link that leaves the site stands without its link.
"""

import logging
import os
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

DOCS = "docs"

INCLUDED = {
    "CHANGELOG.md": "changelog.md",
    "CODE_OF_CONDUCT.md": "conduct.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security-policy.md",
    "charts/disagg-operator/README.md": "chart.md",
}
"""Files outside docs/ that are pages of the site, and the pages' names."""

_log = logging.getLogger("mkdocs.hooks.repository")
_LINK = re.compile(r"(?P<mark>!?)\[(?P<text>[^]]*)\]\((?P<target>[^()\s]+)\)")
_HEADING = re.compile(r"^# ([^:\n]+)", re.MULTILINE)
_FENCE = re.compile(r"^\s*(```|~~~)")
_ELSEWHERE = re.compile(r"^([a-z][a-z0-9+.-]*:|#|//)")


def on_files(files: "Files", config: "MkDocsConfig") -> "Files":
    """Add the pages that are made of files outside docs/."""
    for source, name in INCLUDED.items():
        content = (_root(config) / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: "Page", config: "MkDocsConfig", files: "Files") -> str:  # noqa: ARG001
    """Lead the links of a page to where they mean."""
    names = {name: source for source, name in INCLUDED.items()}
    source = names.get(page.file.src_uri, f"{DOCS}/{page.file.src_uri}")
    return with_links(markdown, source, _root(config), os.environ.get("REPOSITORY_URL", ""))


def with_links(markdown: str, source: str, root: Path, repository: str) -> str:
    """Return a page whose links to files of the repository are right in the site.

    Args:
        markdown: the page.
        source: its path from the repository's root.
        root: the repository.
        repository: address of the repository, or nothing.
    """

    def led(found: re.Match[str]) -> str:
        target = found["target"]
        if _ELSEWHERE.match(target):
            return found[0]
        path, _, anchor = target.partition("#")
        meant = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if meant.startswith("..") or not (root / meant).exists():
            _log.warning("%s links to %s, which is no file of the repository", source, target)
            return found[0]
        page = _page(meant)
        if page is None and not repository:
            return found["text"]
        hash_anchor = f"#{anchor}" if anchor else ""
        address = page if page is not None else _address(root, repository, meant)
        text = _title(root / meant) if found["text"] == posixpath.basename(meant) else found["text"]
        return f"{found['mark']}[{text}]({address}{hash_anchor})"

    return "".join(_outside_code(markdown, lambda line: _LINK.sub(led, line)))


def _page(path: str) -> str | None:
    """Return the page that a file of the repository is in the site; all pages lie in one folder."""
    if path in INCLUDED:
        return INCLUDED[path]
    return path.removeprefix(f"{DOCS}/") if path.startswith(f"{DOCS}/") else None


def _address(root: Path, repository: str, path: str) -> str:
    return f"{repository.rstrip('/')}/{'tree' if (root / path).is_dir() else 'blob'}/main/{path}"


def _title(page: Path) -> str:
    """Return the title of a page, without what explains it."""
    heading = _HEADING.search(page.read_text(encoding="utf-8")) if page.suffix == ".md" else None
    return heading[1] if heading else page.name


def _outside_code(markdown: str, change: Callable[[str], str]) -> Iterator[str]:
    fence = ""
    for line in markdown.splitlines(keepends=True):
        marks = _FENCE.match(line)
        if marks and fence in ("", marks[1]):
            fence = "" if fence else marks[1]
            yield line
        else:
            yield line if fence else change(line)


def _root(config: "MkDocsConfig") -> Path:
    return Path(config.docs_dir).parent
