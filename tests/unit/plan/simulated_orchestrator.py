"""A SIMULATED orchestrator: what ``trtllm-serve disaggregated`` makes of its file, as far as its sources say.

The rules are those of TensorRT-LLM 1.2, tensorrt_llm/llmapi/disagg_utils.py and commands/serve.py, retold: a
URL is host and port around its only colon; there are as many as ``num_instances``; with ``disagg_cluster``,
URLs do not count, and each of its keys must be known; it binds an IPv4 address, so that a name which does not
resolve to one ends it.
"""

import socket
from dataclasses import dataclass, field
from typing import Any

import yaml

ROUTERS = {"round_robin", "load_balancing", "kv_cache_aware"}
CLUSTER_KEYS = {
    "cluster_uri",
    "cluster_name",
    "minimal_instances",
    "heartbeat_interval_sec",
    "inactive_timeout_sec",
}


@dataclass
class SimulatedOrchestrator:
    """What it has read.

    Attributes:
        address: where it listens.
        servers: hosts and ports by section.
        routers: type and arguments by section.
        cluster: where workers register, if they do.
    """

    address: tuple[str, int]
    servers: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    routers: dict[str, dict[str, Any]] = field(default_factory=dict)
    cluster: dict[str, Any] = field(default_factory=dict)


def read(text: str) -> SimulatedOrchestrator:
    """Read a file.

    Raises:
        ValueError: it would end at its start.
        KeyError: the same, for a key of the cluster.
    """
    config = yaml.safe_load(text)
    found = SimulatedOrchestrator((config.get("hostname", "localhost"), config.get("port", 8000)))
    found.cluster = config.get("disagg_cluster") or {}
    for key in found.cluster:
        if key not in CLUSTER_KEYS:
            raise KeyError(f"Key {key} not found in DisaggClusterConfig")
    for section in ("context_servers", "generation_servers"):
        servers = config[section]
        found.routers[section] = servers.get("router", {"type": "round_robin"})
        if found.routers[section]["type"] not in ROUTERS:
            raise ValueError("Unsupported router type")
        if found.cluster:
            continue
        urls = []
        for url in servers.get("urls", []):
            host, port = url.split(":")
            urls.append((host, int(port)))
        if len(urls) != servers.get("num_instances", 1):
            raise ValueError("Number of hostnames should be equal to the number of instances")
        found.servers[section] = urls
    if "conditional_disagg_config" in config:
        assert found.routers["generation_servers"]["type"] == "kv_cache_aware"
    return found


def binds(orchestrator: SimulatedOrchestrator) -> bool:
    """Bind as it would, but to a port that is free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.bind((orchestrator.address[0], 0))
        return bool(listening.getsockname()[1])
