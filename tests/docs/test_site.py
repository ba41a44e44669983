"""The site builds strictly, by `make docs`, and a fault in a page, a link or the order of pages stops it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://git.example.com/disagg/operator"
PAGES = sorted((ROOT / "docs").rglob("*.md"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the site, built as a user builds it."""
    folder = tmp_path_factory.mktemp("site")
    result = subprocess.run(
        ["make", "--no-print-directory", "docs", f"SITE={folder}"],
        cwd=ROOT,
        env={**os.environ, "REPOSITORY_URL": REPOSITORY},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not re.search("WARNING|ERROR", result.stdout + result.stderr)
    return folder


def test_every_page_is_in_the_site(site: Path) -> None:
    wanted = {"index.html" if path.name == "README.md" else path.with_suffix(".html").name for path in PAGES}
    assert wanted <= {path.name for path in site.rglob("*.html")}


def test_links_that_leave_the_site_lead_into_the_repository(site: Path) -> None:
    gb200 = (site / "gb200.html").read_text(encoding="utf-8")
    assert f'href="{REPOSITORY}/blob/main/examples/06-gb200/deepseek-r1.yaml"' in gb200
    engines = (site / "engines.html").read_text(encoding="utf-8")
    assert f'href="{REPOSITORY}/tree/main/examples"' in engines
    assert 'href="architecture.html"' in (site / "contributing.html").read_text(encoding="utf-8")


def test_no_page_is_fetched_from_elsewhere(site: Path) -> None:
    loaded = re.compile(
        r"<(?:script|img|iframe)[^>]*\ssrc=\"?(?:https?:)?//|<link[^>]*stylesheet[^>]*https?://"
    )
    assert not [path.name for path in site.rglob("*.html") if loaded.search(path.read_text(encoding="utf-8"))]


@pytest.mark.usefixtures("site")
def test_faults_stop_the_build(tmp_path: Path) -> None:
    for part in ("docs", "hack/site"):
        shutil.copytree(ROOT / part, tmp_path / part)
    for part in (
        "mkdocs.yml",
        "CHANGELOG.md",
        "CODE_OF_CONDUCT.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "charts/disagg-operator/README.md",
    ):
        (tmp_path / part).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / part, tmp_path / part)
    (tmp_path / "docs/lost.md").write_text(
        "# Lost\n\n[a page](nowhere.md) [an anchor](rules.md#nothing)\n[a file](../operator/none.py)\n",
        encoding="utf-8",
    )
    result = subprocess.run(
        [ROOT / ".venv-docs/bin/mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    told = result.stdout + result.stderr
    assert "- lost.md" in told
    assert "docs/lost.md links to nowhere.md" in told
    assert "'rules.md#nothing'" in told
    assert "docs/lost.md links to ../operator/none.py" in told
