"""Content hashes: the same content is found again, and every change of it is noticed."""

import re
from pathlib import Path

import pytest

from testcluster.containerfile import context_sources
from testcluster.digest import source_files, text_digest, tree_digest
from testcluster.toolchain import (
    HELM3,
    KUBERNETES,
    PLATFORM_PARTS,
    Build,
    go_requirement,
    helm3_flags,
    module_version,
    parse_version,
    version_flags,
)

GO_MOD = "module m\n\ngo 1.26.3\n\nrequire (\n\tk8s.io/kubernetes v1.37.2\n\thelm.sh/helm/v4 v4.3.1 // x\n)\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src/__pycache__").mkdir(parents=True)
    (tmp_path / "src/a.py").write_text("a")
    (tmp_path / "src/__pycache__/a.pyc").write_text("compiled")
    (tmp_path / "lock").write_text("1")
    return tmp_path


def digest(tree: Path) -> str:
    return tree_digest(tree, source_files(tree, ["src", "lock"]))


def test_caches_are_no_content(tree: Path) -> None:
    assert source_files(tree, ["src", "lock"]) == ["lock", "src/a.py"]
    before = digest(tree)
    (tree / "src/__pycache__/b.pyc").write_text("more")
    assert digest(tree) == before


@pytest.mark.parametrize("change", ["content", "name", "mode", "new"])
def test_a_change_of_content_changes_the_digest(tree: Path, change: str) -> None:
    before = digest(tree)
    source = tree / "src/a.py"
    match change:
        case "content":
            source.write_text("b")
        case "name":
            source.rename(tree / "src/b.py")
        case "mode":
            source.chmod(0o755)
        case "new":
            (tree / "src/c.py").touch()
    assert digest(tree) != before


def test_boundaries_between_texts_count() -> None:
    assert text_digest("ab", "c") != text_digest("a", "bc")


def test_a_missing_entry_is_named(tree: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        source_files(tree, ["absent"])


def test_sources_of_a_containerfile_are_those_of_the_context_only() -> None:
    text = """
FROM base AS builder
# COPY commented out
COPY pyproject.toml uv.lock ./
COPY --chown=1:1 ./operator \\
    operator/
RUN --mount=type=cache,target=/x --mount=type=bind,source=crds,target=/crds make
COPY --from=builder /opt/venv /opt/venv
"""
    assert context_sources(text) == ["crds", "operator", "pyproject.toml", "uv.lock"]


def test_wildcards_are_refused_because_they_hide_what_is_copied() -> None:
    with pytest.raises(ValueError, match="without wildcards"):
        context_sources("COPY src/*.py /app/")


def test_versions_come_from_go_mod() -> None:
    assert go_requirement(GO_MOD) == (1, 26, 3)
    assert module_version(GO_MOD, "k8s.io/kubernetes") == "v1.37.2"
    assert module_version(GO_MOD, "helm.sh/helm/v4") == "v4.3.1"
    flags = version_flags(GO_MOD)
    assert "-X k8s.io/component-base/version.gitVersion=v1.37.2" in flags
    assert "-X k8s.io/component-base/version.gitMinor=37" in flags


@pytest.mark.parametrize(
    ("text", "version"), [("go1.26.8", (1, 26, 8)), ("1.26.3", (1, 26, 3)), ("devel", ())]
)
def test_go_versions_compare_as_numbers(text: str, version: tuple[int, ...]) -> None:
    assert parse_version(text) == version


def versions(go_mod: str) -> dict[str, str]:
    """The version of each module, as replaced."""
    required = re.findall(r"^\s*(\S+) (v\S+)", go_mod, re.MULTILINE)
    replaced = re.findall(r"=> (\S+) (v\S+)$", go_mod, re.MULTILINE)
    return {**dict(required), **dict(replaced)}


def test_helm_3_knows_its_version_and_that_of_kubernetes() -> None:
    flags = helm3_flags(
        "require helm.sh/helm/v3 v3.22.0\n\nrequire (\n\tk8s.io/client-go v0.37.2 // indirect\n)\n"
    )
    assert "-X helm.sh/helm/v3/internal/version.version=v3.22.0" in flags
    assert "-X helm.sh/helm/v3/pkg/chartutil.k8sVersionMinor=37" in flags


@pytest.mark.parametrize("build", [PLATFORM_PARTS, HELM3], ids=["platforms", "helm3"])
def test_what_only_some_tests_compile_is_shared_with_the_cluster(build: Build) -> None:
    mine, theirs = versions(build.go_mod), versions(KUBERNETES.go_mod)
    shared = mine.keys() & theirs.keys()
    assert "k8s.io/client-go" in shared
    assert {name: mine[name] for name in shared} == {name: theirs[name] for name in shared}
    assert go_requirement(build.go_mod) == go_requirement(KUBERNETES.go_mod)
