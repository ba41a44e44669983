"""What `make release` makes: all of it, the same each time, and working where nothing else is installed."""

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from release.checkout import ROOT, URL, committed_copy, git, release
from releasing import version as versions
from releasing.checksums import statement
from releasing.locked import export
from releasing.plugin import PYTHONS
from releasing.source import Source
from testcluster.toolchain import uv

EXAMPLE = ROOT / "examples" / "04-efa" / "llama-70b.yaml"
VERSION = versions.current(ROOT)
ARCHIVE = f"kubectl-disagg-{VERSION}-linux-amd64.tar.gz"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return committed_copy(tmp_path_factory.mktemp("checkout") / "one")


@pytest.fixture(scope="module")
def released(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release."""
    folder = tmp_path_factory.mktemp("release") / "dist"
    ended = release(checkout, folder)
    assert ended.returncode == 0, ended.stderr
    assert "No images" in ended.stderr, "what is missing is told"
    return folder


@pytest.fixture(scope="module")
def unpacked(released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plugin's archive, unpacked as krew does."""
    folder = tmp_path_factory.mktemp("krew") / "store"
    with tarfile.open(released / ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


def started(*argv: str | Path, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program that finds this Python, without its packages, and nothing else of this project."""
    python = Path(sys.executable).resolve()
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "DISAGG_PYTHON": str(python), **variables}
    return subprocess.run(
        argv, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )


def test_a_second_release_has_the_same_checksums(checkout: Path, released: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "elsewhere")
    for path in (tmp_path / "elsewhere").rglob("*"):
        if ".git" not in path.parts:
            path.chmod(0o700 if path.is_dir() or os.access(path, os.X_OK) else 0o600)
    ended = release(
        tmp_path / "elsewhere", tmp_path / "dist", umask=0o077, TZ="Asia/Kathmandu", LC_ALL="C", LANG="C"
    )
    assert ended.returncode == 0, ended.stderr
    sums = "SHA256SUMS"
    assert (tmp_path / "dist" / sums).read_text() == (released / sums).read_text()


def test_the_checksums_name_every_file(released: Path) -> None:
    lines = (released / "SHA256SUMS").read_text().splitlines()
    sums = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {str(path.relative_to(released)) for path in released.rglob("*") if path.is_file()}
    assert set(sums) == files - {"SHA256SUMS"}
    assert {
        *("crds.yaml", "disagg.yaml", "provenance.intoto.json", ARCHIVE),
        f"disagg-operator-{VERSION}.tgz",
        f"disagg_operator-{VERSION}-py3-none-any.whl",
        f"disagg_worker-{VERSION}-py3-none-any.whl",
        *(f"sbom/{name}.cdx.json" for name in ("operator", "worker", "kubectl-disagg")),
    } <= files
    for name, digest in sums.items():
        assert sha256((released / name).read_bytes()).hexdigest() == digest, name


def test_the_provenance_names_the_commit_and_every_file(checkout: Path, released: Path) -> None:
    told = json.loads((released / "provenance.intoto.json").read_text())
    assert told["_type"] == "https://in-toto.io/Statement/v1"
    assert told["predicateType"] == "https://slsa.dev/provenance/v1"
    named = {subject["name"] for subject in told["subject"]}
    files = {str(path.relative_to(released)) for path in released.rglob("*") if path.is_file()}
    assert named == files - {"SHA256SUMS", "provenance.intoto.json"}
    built = told["predicate"]["buildDefinition"]
    source = built["resolvedDependencies"][0]
    assert source["digest"] == {"gitCommit": git(checkout, "rev-parse", "HEAD").strip()}
    assert source["uri"] == f"git+{URL}"
    assert "annotations" not in source
    assert built["externalParameters"] == {"version": VERSION, "plugin": "linux-amd64"}


def test_changes_are_refused_or_told(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "changed")
    (tmp_path / "changed" / "new.txt").touch()
    ended = release(tmp_path / "changed", tmp_path / "dist")
    assert ended.returncode == 1
    assert "new.txt" in ended.stderr
    assert "SNAPSHOT=1" in ended.stderr
    assert not (tmp_path / "dist").exists()
    told = statement(Source(ROOT, "0" * 40, 0, modified=True, url=""), {}, {})
    (source, *_) = told["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert source["annotations"] == {"modified": True}


def test_a_version_that_is_not_everywhere_is_refused(checkout: Path, tmp_path: Path) -> None:
    git(tmp_path, "clone", "--quiet", checkout, tmp_path / "changed")
    chart = tmp_path / "changed" / "charts" / "disagg-operator" / "Chart.yaml"
    chart.write_text(chart.read_text().replace(f"version: {VERSION}", "version: 9.9.9"))
    ended = release(tmp_path / "changed", tmp_path / "dist", "--snapshot")
    assert ended.returncode == 1
    assert "Chart.yaml says 9.9.9" in ended.stderr
    assert "make set-version" in ended.stderr


def test_the_archive_runs_with_python_alone(unpacked: Path, tmp_path: Path) -> None:
    link = tmp_path / "bin" / "kubectl-disagg"
    link.parent.mkdir()
    link.symlink_to(unpacked / "kubectl-disagg")
    assert started(link, "--version", folder=tmp_path).stdout == f"kubectl-disagg {VERSION}\n"
    rendered = started(link, "render", "-f", EXAMPLE, folder=tmp_path)
    here = Path(sys.executable).with_name("kubectl-disagg")
    expected = subprocess.run([here, "render", "-f", EXAMPLE], capture_output=True, text=True, check=True)
    assert rendered.stdout == expected.stdout
    assert started(link, "lint", "-f", EXAMPLE, folder=tmp_path).returncode == 0
    assert "aws-p5.48xlarge" in started(link, "platforms", folder=tmp_path).stdout
    assert "Usage: kubectl-disagg" in started(link, "--help", folder=tmp_path).stdout


def test_the_archive_completes(unpacked: Path, tmp_path: Path) -> None:
    offered = started(unpacked / "kubectl_complete-disagg", "rollout", "pa", folder=tmp_path)
    assert offered.stdout.startswith("pause")


def test_an_unfit_python_is_named_with_a_remedy(unpacked: Path, tmp_path: Path) -> None:
    ended = started(unpacked / "kubectl-disagg", folder=tmp_path, DISAGG_PYTHON="/bin/false")
    assert ended.returncode == 1
    assert "no Python 3.11 to 3.14" in ended.stderr
    assert "DISAGG_PYTHON=" in ended.stderr


def test_packages_of_the_user_are_not_taken(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "yaml.py").write_text("raise SystemExit('the wrong yaml')")
    told = started(unpacked / "kubectl-disagg", "platforms", folder=tmp_path, PYTHONPATH=str(tmp_path))
    assert told.returncode == 0, told.stderr


IMPORT_ALL = """
import importlib, pkgutil, sys
sys.path.insert(0, sys.argv[1])
import disagg_operator.cli as cli
for module in pkgutil.walk_packages(cli.__path__, "disagg_operator.cli."):
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":  # `size --plot` asks to install it
            raise
"""


def test_every_module_of_the_command_line_can_be_imported(unpacked: Path, tmp_path: Path) -> None:
    python = Path(sys.executable).resolve()
    ended = started(python, "-I", "-S", "-c", IMPORT_ALL, unpacked / "lib", folder=tmp_path)
    assert ended.returncode == 0, ended.stderr


class SimulatedApiServer(BaseHTTPRequestHandler):
    """Stands in for a cluster without deployments; real ones are asked in tests/integration/cli."""

    def do_GET(self) -> None:
        """Answer an empty list."""
        body = b'{"kind": "List", "metadata": {"resourceVersion": "1"}, "items": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def simulated_cluster(folder: Path) -> Iterator[Path]:
    """Yield a kubeconfig of a cluster without deployments."""
    with HTTPServer(("127.0.0.1", 0), SimulatedApiServer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
            "users": [{"name": "me", "user": {}}],
        }
        file = folder / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        yield file
        server.shutdown()


def test_the_archive_speaks_to_a_cluster(unpacked: Path, tmp_path: Path) -> None:
    with simulated_cluster(tmp_path) as kubeconfig:
        argv: list[str | Path] = [
            unpacked / "kubectl-disagg",
            "status",
            "-o",
            "json",
            "--kubeconfig",
            kubeconfig,
        ]
        ended = started(*argv, folder=tmp_path)
    assert (ended.returncode, json.loads(ended.stdout)) == (0, []), ended.stderr


def test_the_archive_fits_every_python_that_is_promised(unpacked: Path) -> None:
    for package in ("pydantic_core/_pydantic_core", "aiohttp/_http_parser", "yaml/_yaml"):
        for major, minor in PYTHONS:
            assert (unpacked / "lib" / f"{package}.cpython-{major}{minor}-x86_64-linux-gnu.so").is_file()


def test_the_bill_of_the_plugin_names_what_its_archive_holds(released: Path, unpacked: Path) -> None:
    text = (released / "sbom" / "kubectl-disagg.cdx.json").read_text()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None, "CycloneDX's own schema"
    named = {(each["name"], each["version"]) for each in json.loads(text)["components"]}
    held = {
        tuple(path.name.removesuffix(".dist-info").lower().replace("_", "-").rsplit("-", 1))
        for path in (unpacked / "lib").glob("*.dist-info")
    }
    ours = ("disagg-operator", VERSION)
    windows = {each for each in named if each[0] == "colorama"}
    assert held - {ours} == named - windows


def test_krew_gets_the_archive_that_was_made(released: Path, unpacked: Path) -> None:
    manifest = yaml.safe_load((released / "disagg.yaml").read_text())
    (platform,) = manifest["spec"]["platforms"]
    assert platform["selector"] == {"matchLabels": {"os": "linux", "arch": "amd64"}}
    assert platform["uri"] == f"{URL}/releases/download/v{VERSION}/{ARCHIVE}"
    assert platform["sha256"] == sha256((released / ARCHIVE).read_bytes()).hexdigest()
    assert os.access(unpacked / platform["bin"], os.X_OK)
    assert manifest["metadata"]["name"] == "disagg", "kubectl disagg"
    assert manifest["spec"]["version"] == f"v{VERSION}"


def test_the_wheel_runs_in_an_empty_environment(released: Path, tmp_path: Path) -> None:
    (wheel,) = released.glob("disagg_operator-*.whl")
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(export(ROOT, "requirements.txt", ()))
    quiet: list[str | Path] = [uv(), "--quiet", "--no-config"]
    subprocess.run([*quiet, "venv", "--python", sys.executable, tmp_path / "venv"], check=True, timeout=120)
    install = [*quiet, "pip", "install", "--python", tmp_path / "venv", "--requirement", requirements, wheel]
    subprocess.run(install, cwd=tmp_path, check=True, timeout=280)
    programs = tmp_path / "venv" / "bin"
    told = started(programs / "kubectl-disagg", "--version", folder=tmp_path)
    assert told.stdout == f"kubectl-disagg {VERSION}\n"
    rendered = started(programs / "kubectl-disagg", "render", "-f", EXAMPLE, folder=tmp_path)
    assert {each["kind"] for each in yaml.safe_load_all(rendered.stdout)} >= {"StatefulSet", "Deployment"}
    refused = started(programs / "disagg-operator", folder=tmp_path)
    assert "DISAGG_WORKER_IMAGE" in refused.stdout + refused.stderr, (
        "the operator starts, and lacks its settings"
    )


def test_the_bundle_of_definitions_holds_them_all(released: Path) -> None:
    bundled = list(yaml.safe_load_all((released / "crds.yaml").read_text()))
    files = sorted((ROOT / "crds").glob("*.yaml"))
    assert bundled == [yaml.safe_load(file.read_text()) for file in files]


@pytest.fixture(autouse=True, scope="module")
def _uv() -> Iterator[None]:
    """The parts of the release run uv by this variable, as make sets it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UV", uv())
        yield
