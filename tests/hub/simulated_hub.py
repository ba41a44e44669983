"""A simulated model hub: as much of the Hugging Face Hub's HTTP interface as its client needs to fetch files.

It needs the standard library alone, so that it runs inside any of our images too:
``python3 simulated_hub.py PORT OWNER/NAME=DIRECTORY…``

What it answers, and with which headers, follows huggingface_hub 2.4 (``utils/_http.py``,
``file_download.py``, ``_snapshot_download.py``): ``X-Error-Code`` of a refusal, ``X-Repo-Commit`` and
``ETag`` of a file, byte ranges. As at the real hub, a gated repository shows what files it has, and not the
files.
"""

import json
import sys
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

TOKEN = "hf_simulated"  # noqa: S105 - opens what is simulated here and nothing else
_PIECE = 64 << 10


@dataclass
class Repository:
    """A repository of the hub.

    Attributes:
        directory: Its files.
        gated: Whether its files are for those with the token alone.
        private: Whether it is shown to those with the token alone.
        revisions: What it has beside its commit.
        break_after: Bytes after which the connection breaks that fetches a file, by path; once for each.
        hold: While this is not set, files stop after their first piece.
    """

    directory: Path
    gated: bool = False
    private: bool = False
    revisions: tuple[str, ...] = ("main",)
    break_after: dict[str, int] = field(default_factory=dict)
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    def files(self) -> dict[str, Path]:
        """Return its files by path."""
        found = (path for path in sorted(self.directory.rglob("*")) if path.is_file())
        return {path.relative_to(self.directory).as_posix(): path for path in found}

    @property
    def commit(self) -> str:
        """Its one commit."""
        return sha1(" ".join(self.files()).encode(), usedforsecurity=False).hexdigest()


class SimulatedHub(ThreadingHTTPServer):
    """The hub.

    Attributes:
        repositories: what it has, by ``OWNER/NAME``.
        asked: how often each method and path was asked for.
        tokens: the tokens that were shown.
    """

    daemon_threads = True

    def __init__(self, repositories: Mapping[str, Repository], address: tuple[str, int]) -> None:
        self.repositories = dict(repositories)
        self.asked: Counter[str] = Counter()
        self.ranges: list[str] = []
        self.tokens: set[str] = set()
        super().__init__(address, _Answer)

    @property
    def url(self) -> str:
        """Where it answers."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}"

    def fetched(self, file: str) -> int:
        """Return how often a file was fetched."""
        return sum(count for asked, count in self.asked.items() if asked == f"GET {file}")

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went."""


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: SimulatedHub

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        sys.stderr.write(f"{self.command} {self.path} {code} {size}\n")

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path).strip("/")
        shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if shown:
            self.server.tokens.add(shown)
            if shown != TOKEN:
                self._refuse(401, message="Invalid credentials in Authorization header")
                return
        parts = path.split("/")
        if parts[:2] == ["api", "models"]:
            self._describe("/".join(parts[2:4]), parts[4:], shown)
        elif len(parts) > 4 and parts[2] == "resolve":
            self._file("/".join(parts[:2]), parts[3], "/".join(parts[4:]), shown)
        else:
            self._refuse(404)

    def _describe(self, name: str, rest: list[str], shown: str) -> None:
        repository = self._visible(name, shown)
        if repository is None:
            return
        if len(rest) > 1 and not self._has(repository, rest[1]):
            return
        files = repository.files()
        if rest[:1] == ["tree"]:
            if self._closed(repository, shown):
                return
            self._json([{"type": "file", **_entry(path, file)} for path, file in files.items()])
            return
        siblings = [{"rfilename": path, "size": file.stat().st_size} for path, file in files.items()]
        self._json({"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings})

    def _file(self, name: str, revision: str, path: str, shown: str) -> None:
        repository = self._visible(name, shown)
        if repository is None or not self._has(repository, revision) or self._closed(repository, shown):
            return
        file = repository.files().get(path)
        if file is None:
            self._refuse(404, "EntryNotFound")
            return
        self.server.asked[f"{self.command} {path}"] += 1
        size, start = file.stat().st_size, 0
        wanted = self.headers.get("Range")
        if wanted is not None:
            self.server.ranges.append(f"{path} {wanted}")
            start = int(wanted.removeprefix("bytes=").split("-")[0])
        self.send_response(206 if wanted else 200)
        self.send_header("X-Repo-Commit", repository.commit)
        self.send_header("ETag", f'"{_entry(path, file)["oid"]}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(size - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self._pieces(repository, path, file, start)

    def _pieces(self, repository: Repository, path: str, file: Path, start: int) -> None:
        broken = repository.break_after.pop(path, None)
        with file.open("rb") as content:
            content.seek(start)
            sent = 0
            while piece := content.read(_PIECE):
                if broken is not None and sent >= broken:
                    self.close_connection = True
                    return
                self.wfile.write(piece)
                sent += len(piece)
                # Not after the last piece: the client has the file, and asks for the next by this connection.
                if start + sent < file.stat().st_size:
                    repository.hold.wait()

    def _visible(self, name: str, shown: str) -> Repository | None:
        repository = self.server.repositories.get(name)
        if repository is None or (repository.private and not shown):
            # Without a token, what is missing and what is private look alike.
            self._refuse(404 if shown else 401, "RepoNotFound")
            return None
        return repository

    def _has(self, repository: Repository, revision: str) -> bool:
        if revision in (*repository.revisions, repository.commit):
            return True
        self._refuse(404, "RevisionNotFound")
        return False

    def _closed(self, repository: Repository, shown: str) -> bool:
        if not repository.gated or shown:
            return False
        self._refuse(401, "GatedRepo")
        return True

    def _json(self, found: Any) -> None:
        body = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: int, code: str = "", message: str = "") -> None:
        self.send_response(status)
        for name, value in (("X-Error-Code", code), ("X-Error-Message", message)):
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _entry(path: str, file: Path) -> dict[str, Any]:
    oid = sha1(file.read_bytes(), usedforsecurity=False).hexdigest()
    return {"path": path, "size": file.stat().st_size, "oid": oid}


def main(port: str, *repositories: str) -> None:
    """Serve repositories, each given as ``OWNER/NAME=DIRECTORY``, until the process is ended."""
    pairs = (each.split("=", 1) for each in repositories)
    SimulatedHub({name: Repository(Path(folder)) for name, folder in pairs}, ("", int(port))).serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
