"""The tables of docs/support.md, from profiles of releases, chart and workflow; with --check it compares."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from disagg_operator.platforms.catalogue import builtin
from settling import ROOT, settle
from testcluster.toolchain import module_version

PAGE = Path("docs/support.md")
CHART = Path("charts/disagg-operator/Chart.yaml")
LOCAL = Path("tests/cluster/localkube/go.mod")
OLDEST = Path("tests/cluster/oldestkube/go.mod")
HELM3 = Path("tests/cluster/helm3/go.mod")
HELMS = {
    ("helm.sh/helm/v4", LOCAL): "all tests of the chart",
    ("helm.sh/helm/v3", HELM3): "templates and lint with each file of values, install and upgrade",
}
WORKFLOW = Path(".github/workflows/e2e.yaml")
ENGINES = ("trtllm", "vllm", "sglang")
_TABLE = re.compile(r"(<!-- (\w+): made by `make crds` -->\n).*?(<!-- end -->)", re.DOTALL)


def kubernetes(root: Path) -> Iterator[tuple[str, str]]:
    """Yield versions of Kubernetes, oldest first, and what is tried with each."""
    oldest = re.sub(r"^>=(\d+\.\d+)\..*$", r"\1", yaml.safe_load((root / CHART).read_text())["kubeVersion"])
    own_newest, own_oldest = (_required("k8s.io/kubernetes", root / each) for each in (LOCAL, OLDEST))
    built = {own_newest: "`make test`", own_oldest: "`make test-oldest`"}
    matrix = yaml.safe_load((root / WORKFLOW).read_text())["jobs"]["kind"]["strategy"]["matrix"]["kubernetes"]
    newest = own_newest.rpartition(".")[0]
    for version in matrix:
        bound = {oldest: "the oldest that the chart takes", newest: "the newest"}.get(version, "")
        own = "".join(
            f"; version {each}, built from source, is what {command} runs"
            for each, command in built.items()
            if each.startswith(f"{version}.")
        )
        yield version, f"{bound}: the end-to-end tests on kind, in the workflow e2e{own}"


def _required(module: str, go_mod: Path) -> str:
    return module_version(go_mod.read_text(encoding="utf-8"), module).removeprefix("v")


def helms(root: Path) -> Iterator[tuple[str, str]]:
    """Yield versions of Helm and what is tried with each."""
    for (module, go_mod), tried in HELMS.items():
        yield _required(module, root / go_mod), tried


def releases() -> Iterator[tuple[str, ...]]:
    """Yield each release of Dynamo, newest first, and the versions of its engines."""
    for version, release in builtin().runtimes["dynamo"].items():
        engines = (release.engines.get(name) for name in ENGINES)
        yield version, *(engine.version if engine else "none" for engine in engines)


def page(text: str, root: Path) -> str:
    """Return the page with its tables made anew."""
    tables = {
        "kubernetes": table(("Kubernetes", "tried by"), kubernetes(root)),
        "helm": table(("Helm", "tried by"), helms(root)),
        "releases": table(("Dynamo", "TensorRT-LLM", "vLLM", "SGLang"), releases()),
    }
    return _TABLE.sub(lambda found: f"{found[1]}\n{tables[found[2]]}\n{found[3]}", text)


def table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    """Return rows as a Markdown table."""
    lines = (headings, ("---",) * len(headings), *rows)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    sys.exit(settle({PAGE: page((ROOT / PAGE).read_text(encoding="utf-8"), ROOT)}))
