"""Checks what a worker finds in its pod, before its engine starts.

It runs in the image of any engine, so it needs Python 3.10 and no package. Argument: a JSON object that names
checks and what each is to find. Every check is made, but one that cannot pass after another was wrong. The
results go to the log and, as JSON, to the termination message; a wrong one ends the program with status 1.
What cannot be told is no fault: a check must never keep an engine from starting that could run.
"""

import contextlib
import ctypes
import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEVICES = Path("/dev")
ADAPTERS = Path("/sys/class/infiniband")
STATUS = Path("/proc/self/status")
MESSAGE = Path("/dev/termination-log")
LONGEST = 3800  # the kubelet keeps 4096 bytes
IPC_LOCK = 14  # number of CAP_IPC_LOCK
SECONDS = 40  # for NIXL to start a backend; loading CUDA takes the most
ABSENT = 77
PREFIX = re.compile(r"^(?:[IWEF]\d{4} [\d:.]+\s+\d+ \S+\] |\[[\d.]+\] \[[^\]]*\]\s+\S+\s+)")
UNFIT = (
    r"Failed to load plugin|version mismatch|nixl_plugin_init|not found|undefined symbol|cannot open shared"
)
NO_WAY = r"no usable transports/devices|no active messages transport"
TELLING = re.compile(
    rf"{UNFIT}|backend (?:creation failed|initialization error)|unsupported backend|{NO_WAY}"
)
UCX_VARIABLES = ("UCX_TLS", "UCX_NET_DEVICES")
# They end without destructors: one in NIXL's wheel (libnl) may crash.
TRY_BACKEND = f"""
import os, sys
try:
    from nixl._api import nixl_agent, nixl_agent_config
except ImportError:
    os._exit({ABSENT})
nixl_agent("preflight", nixl_agent_config(backends=[sys.argv[1]]))
sys.stderr.flush()
os._exit(0)
"""
TRY_PLUGIN = """
import contextlib, ctypes, os, pathlib, sys
plugin = pathlib.Path(sys.argv[1])
for library in sorted(plugin.parent.parent.glob("lib*.so*")):
    with contextlib.suppress(OSError):
        ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)
ctypes.CDLL(str(plugin), os.RTLD_NOW)
os._exit(0)
"""
REMEDY = (
    "Plugins must be built with the NIXL that the engine loads: take an image whose parts belong together, "
    "or set NIXL_PLUGIN_DIR to the right folder (env)."
)
_DEVICES_REMEDY = (
    "It loads, and finds no way to other pods: see with ucx_info -d what the container's devices offer."
)


class WrongError(Exception):
    """Something is not as asked. The text says what, and what to do."""


class UnclearError(Exception):
    """It cannot be told."""


def fabric_devices(asked: int) -> str:
    """Count the RDMA devices that the container may open."""
    count = _device_files()
    if count < asked:
        raise WrongError(
            f"{count} of {asked} fabric devices are in the container ({DEVICES}/infiniband/uverbs*), and "
            f"{_adapters()}. See whether the device plugin of the fabric runs on this node and offers as "
            "many."
        )
    return f"{count} devices"


def rdma_device(_: bool) -> str:
    """Look for any RDMA device where the plan asks for none, and KV cache can take nothing else."""
    count = _device_files()
    if not count:
        raise WrongError(
            f"There is no RDMA device in the container ({DEVICES}/infiniband/uverbs*), and {_adapters()}. By "
            "the pod's variables KV cache can take nothing else. Ask for adapters (devices of the role) on "
            "nodes that have them, or write a platform without RDMA, such as generic."
        )
    return f"{count} devices"


def _device_files() -> int:
    return len(list(DEVICES.glob("infiniband/uverbs*")))


def _adapters() -> str:
    """Say which RDMA adapters the node has. A kernel may hide those of other pods."""
    found = sorted(each.name for each in ADAPTERS.glob("*"))
    return f"this node shows {', '.join(found[:4])}" if found else "this node shows no RDMA adapter"


def locked_memory(_: bool) -> str:
    """Find out whether memory can be pinned without limit."""
    limit = resource.getrlimit(resource.RLIMIT_MEMLOCK)[0]
    if limit == resource.RLIM_INFINITY or _has(IPC_LOCK, "CapEff"):
        return "unlimited"
    user = os.geteuid()
    size = f"{limit >> 20} MiB" if limit >= 1 << 20 else f"{limit >> 10} KiB"
    as_root = "(podTemplate of the role: spec.securityContext.runAsUser: 0)"
    if user and _has(IPC_LOCK, "CapBnd"):
        remedy = (
            f"The container has the capability IPC_LOCK, but runs as user {user}, for whom it has no effect: "
            f"let it run as user 0 {as_root}"
        )
    else:
        also = f", and user 0, without which it has no effect {as_root}" if user else ""
        remedy = f"Give it the capability IPC_LOCK (security.mode: IpcLock or Privileged){also}"
    raise WrongError(
        f"Only {size} of memory can be pinned, and the fabric pins KV cache. {remedy}, or raise the node's "
        "limit (LimitMEMLOCK=infinity of containerd)."
    )


def _has(capability: int, kind: str) -> bool:
    """Tell whether one of this process's sets of capabilities, such as ``CapEff``, holds one."""
    found = re.search(rf"^{kind}:\s*([0-9a-f]+)$", STATUS.read_text(encoding="utf-8"), re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> capability & 1)


def shared_memory(asked: int) -> str:
    """Measure /dev/shm, in bytes."""
    folder = DEVICES / "shm"
    try:
        found = os.statvfs(folder)
    except OSError as error:
        raise WrongError(f"{folder}: {error.strerror}. The engine's processes talk through it.") from None
    size = found.f_frsize * found.f_blocks
    if size < asked:
        raise WrongError(
            f"{folder} has {size >> 20} MiB and should have {asked >> 20} MiB: mount an emptyDir of medium "
            "Memory there, and see whether podTemplate replaces ours."
        )
    return f"{size >> 20} MiB"


def gpus(asked: int) -> str:
    """Count the GPUs that NVIDIA's driver shows, or else their device files."""
    count, how = _nvml_gpus(), "NVML"
    if count is None:
        count, how = len(list(DEVICES.glob("nvidia[0-9]*"))), f"{DEVICES}/nvidia*"
    if count < asked:
        raise WrongError(
            f"{count} of {asked} GPUs are in the container ({how}). Look at the NVIDIA device plugin and the "
            "container toolkit of this node."
        )
    return f"{count} by {how}"


def _nvml_gpus() -> int | None:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    count = ctypes.c_uint()
    told = nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
    nvml.nvmlShutdown()
    return None if told else count.value


def imex_channel(_: bool) -> str:
    """Find the channel that a ComputeDomain gives."""
    channels = sorted(DEVICES.glob("nvidia-caps-imex-channels/channel*"))
    if not channels:
        raise WrongError(
            f"There is no IMEX channel ({DEVICES}/nvidia-caps-imex-channels), without which GPUs of other "
            "nodes cannot be reached over NVLink. Look at the pod's resource claim and at the ComputeDomain: "
            "kubectl describe computedomain."
        )
    return channels[0].name


def efa_sdk(folder: str) -> str:
    """Look whether the EFA SDK is where the host's is mounted."""
    found = sorted(Path(folder).glob("lib*/libfabric.so*"))
    if not found:
        raise WrongError(
            f"There is no libfabric below {folder}, which is mounted from the node: install the EFA software "
            "on the node, or take an image that holds it (runtime.image)."
        )
    return str(found[-1])


def libfabric(least: str) -> str:
    """Compare libfabric's version with the least, such as 2.5.1."""
    version, where = _libfabric_version()
    found = [int(part) for part in version.split(".")]
    if found < [int(part) for part in least.split(".")][: len(found)]:
        raise WrongError(
            f"libfabric is {version} ({where}), and this machine needs {least}: older ones cannot register "
            "GPU memory there (efa_mr_reg_impl: Bad address). Take a newer image, or newer EFA software on "
            "the node."
        )
    return f"{version} ({where})"


def _libfabric_version() -> tuple[str, str]:
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = _run("fi_info", "--version").stdout
        if (found := re.search(r"libfabric: (\d+(?:\.\d+)+)", told)) is not None:
            return found[1], "fi_info"
    for name in ("libfabric.so.1", "/opt/amazon/efa/lib/libfabric.so.1"):
        with contextlib.suppress(OSError):
            number = ctypes.CDLL(name).fi_version()
            return f"{number >> 16 & 0xFFFF}.{number & 0xFFFF}", name
    raise UnclearError("no libfabric was found where the loader looks")


def nixl_backend(backend: str) -> str:
    """Start NIXL's backend as an engine that uses its Python package does, with its reasons in the open."""
    tried = _run(sys.executable, "-c", TRY_BACKEND, backend, NIXL_LOG_LEVEL="INFO")
    if tried.returncode == ABSENT:
        raise UnclearError("there is no Python package of NIXL")
    if tried.returncode == 0:
        return f"{backend} starts"
    lines = [PREFIX.sub("", line.strip()) for line in (tried.stderr + tried.stdout).splitlines()]
    reasons = dict.fromkeys(line for line in lines if TELLING.search(line) and backend in line)
    why = "; ".join(list(reasons)[:3]) or (lines[-1] if lines else f"status {tried.returncode}")
    written = ", ".join(f"{name}={os.environ[name]}" for name in UCX_VARIABLES if os.environ.get(name))
    no_way = re.search(NO_WAY, why) is not None
    if backend == "UCX" and written and (no_way or not re.search(UNFIT, why)):
        raise WrongError(
            f"{written} (spec.env or spec.<role>.env, or the platform's) lets NIXL's backend UCX take "
            "nothing that reaches other pods: leave it out, or correct it by what ucx_info -d lists. UCX: "
            f"{why[:900]}."
        )
    remedy = _DEVICES_REMEDY if no_way else REMEDY
    raise WrongError(f"NIXL cannot start its backend {backend}: {why[:900]}. {remedy}")


def nixl_plugin(path: str) -> str:
    """Load a plugin beside the NIXL that it lies with, as an engine does that brings a NIXL of its own."""
    if not Path(path).exists():
        raise WrongError(f"There is no {path}, and NIXL_PLUGIN_DIR names that folder. {REMEDY}")
    loaded = _run(sys.executable, "-c", TRY_PLUGIN, path)
    if loaded.returncode == 0:
        return f"{path} loads"
    why = (loaded.stderr.strip().splitlines() or [f"status {loaded.returncode}"])[-1][:900]
    if "undefined symbol" in why:
        raise WrongError(f"NIXL's plugin does not fit the NIXL beside it: {why}. {REMEDY}")
    raise UnclearError(why)


def _run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - the commands are our own
        command,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=SECONDS,
        env={**os.environ, **environment},
        check=False,
    )


CHECKS: dict[str, Callable[[Any], str]] = {
    "fabricDevices": fabric_devices,
    "rdmaDevice": rdma_device,
    "lockedMemory": locked_memory,
    "sharedMemory": shared_memory,
    "gpus": gpus,
    "imexChannel": imex_channel,
    "efaSdk": efa_sdk,
    "libfabric": libfabric,
    "nixlBackend": nixl_backend,
    "nixlPlugin": nixl_plugin,
}
FIRST = {"nixlBackend": ("fabricDevices", "rdmaDevice")}
"""Checks that cannot pass where another is wrong, which alone is the cause then."""


def result(name: str, asked: Any) -> dict[str, Any]:
    """Make one check.

    Returns:
        Its name (``check``), ``ok`` (None where it cannot be told) and what it ``says``.
    """
    try:
        ok, says = True, CHECKS[name](asked)
    except WrongError as wrong:
        ok, says = False, str(wrong)
    except UnclearError as unclear:
        ok, says = None, str(unclear)
    except Exception as error:  # noqa: BLE001 - a bug of a check must not keep an engine from starting
        ok, says = None, f"{type(error).__name__}: {error}"
    return {"check": name, "ok": ok, "says": says}


def message(results: list[dict[str, Any]]) -> str:
    """Return the results as JSON of at most `LONGEST` bytes, the longest texts cut first."""
    kept = [dict(each) for each in results]
    while len((text := json.dumps({"preflight": kept})).encode()) > LONGEST:
        longest = max(kept, key=lambda each: len(each["says"]))
        longest["says"] = longest["says"][: len(longest["says"]) * 2 // 3] + "…"
    return text


def main(asked: str) -> None:
    """Make all checks that are asked for, and end with what is wrong."""
    results: list[dict[str, Any]] = []
    for name, value in json.loads(asked).items():
        wrong = [each["check"] for each in results if each["ok"] is False]
        cause = next((each for each in FIRST.get(name, ()) if each in wrong), None)
        skipped = {"check": name, "ok": None, "says": f"not tried, as {cause} is wrong"}
        results.append(result(name, value) if cause is None else skipped)
    words = {True: "ok", False: "WRONG", None: "unclear"}
    for each in results:
        print(f"{each['check']}: {words[each['ok']]}: {each['says']}", flush=True)
    with contextlib.suppress(OSError):
        MESSAGE.write_text(message(results), encoding="utf-8")
    if any(each["ok"] is False for each in results):
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
