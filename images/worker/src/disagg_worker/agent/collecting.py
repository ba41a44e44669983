"""Joins the sources of evidence into one reading."""

import time
from dataclasses import dataclass
from pathlib import Path

from disagg_worker.agent.devices import device_files, read_devices
from disagg_worker.agent.evidence import Evidence
from disagg_worker.agent.interfaces import read_interfaces
from disagg_worker.agent.logs import read_logs
from disagg_worker.agent.model import read_model
from disagg_worker.agent.nvlink import CONTROL, LIBRARY, read_nvlink
from disagg_worker.agent.processes import running, with_libraries
from disagg_worker.agent.rdma_netlink import read_counters
from disagg_worker.agent.reading import Unread
from disagg_worker.agent.telemetry import read_engine, read_nixl


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the agent looks.

    Attributes:
        sys: Root of the sys file system.
        proc: Root of the proc file system; its processes are the pod's.
        model: Directory or repository of the model; empty when unknown.
        engine_metrics: URL of the reference engine's metrics; empty when the engine is another.
        nixl_metrics: URL of NIXL's exporter; empty when it is off.
        nvml: NVIDIA's management library, as the dynamic loader takes it.
        gpu_control: The NVIDIA driver's control device.
        pod: Name of the pod, likewise its namespace and its node; empty outside of Kubernetes.
    """

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    model: str = ""
    engine_metrics: str = ""
    nixl_metrics: str = ""
    nvml: str = LIBRARY
    gpu_control: Path = CONTROL
    pod: str = ""
    namespace: str = ""
    node: str = ""


class Collector:
    """Reads all sources anew each time it is asked.

    Args:
        sources: Where to look.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._started = time.monotonic()

    def collect(self) -> Evidence:
        """Read everything; what cannot be read becomes a note of the evidence."""
        sources, unread = self._sources, Unread()
        now = time.time()
        interfaces = read_interfaces(sources.proc, unread)
        libraries = with_libraries(running(sources.proc, unread), unread)
        # Of other processes nothing is taken: one of the agent's own container has other files.
        engine = [each for each, _ in libraries]
        files = device_files([each.directory / "root" for each in engine], unread)
        return Evidence(
            time=now,
            uptime_seconds=round(time.monotonic() - self._started, 3),
            pod=sources.pod,
            namespace=sources.namespace,
            node=sources.node,
            devices=read_devices(sources.sys, files, read_counters, unread),
            interfaces=interfaces,
            processes=tuple(process for _, process in libraries),
            nvlink=read_nvlink(sources.nvml, sources.gpu_control),
            nixl=read_nixl(sources.nixl_metrics),
            engine=read_engine(sources.engine_metrics, unread),
            logs=read_logs(engine, unread),
            model=read_model(sources.model, engine, unread),
            device_files=files or (),
            unreadable=unread.notes(),
        )
