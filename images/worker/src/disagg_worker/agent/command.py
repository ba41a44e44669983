"""The agent's process: it waits in `accept` until somebody asks, and ends at SIGTERM.

Options come from the command line or from variables; argparse reads them, for it costs 1 MB.
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from disagg_worker.agent.collecting import Collector, Sources
from disagg_worker.agent.evidence import document
from disagg_worker.agent.serving import AgentServer, application
from disagg_worker.errors import ConfigError

PORT = 9095
# `serve_forever` looks this often whether it was told to end, which here a signal does: an hour is never.
_POLL_SECONDS = 3600.0


def command(arguments: Sequence[str]) -> None:
    """Serve the evidence until SIGTERM, or print it once.

    Args:
        arguments: The command line after `disagg-worker agent`.

    Raises:
        ConfigError: The port is taken.
        SystemExit: The command line is wrong, or only help was asked for.
    """
    given = _parser().parse_args(arguments)
    collector = Collector(
        Sources(
            sys=given.sys_root,
            proc=given.proc_root,
            model=given.model,
            engine_metrics=given.engine_metrics,
            nixl_metrics=given.nixl_metrics,
            pod=os.environ.get("POD_NAME", ""),
            namespace=os.environ.get("POD_NAMESPACE", ""),
            node=os.environ.get("NODE_NAME", ""),
        )
    )
    if given.once:
        sys.stdout.write(json.dumps(document(collector.collect()), indent=2) + "\n")
    else:
        _serve(collector, given.port)


def _serve(collector: Collector, port: int) -> None:
    try:
        server = AgentServer(port, application(collector.collect))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port {port} cannot be used ({error}); give another with --port") from None
    signal.signal(signal.SIGTERM, _end)
    with server:
        sys.stdout.write(f"transport agent: port {server.server_port}\n")
        sys.stdout.flush()
        server.serve_forever(_POLL_SECONDS)


def _end(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="disagg-worker agent",
        description="Tell over HTTP what devices, interfaces, libraries and logs say of the KV transport.",
        allow_abbrev=False,
    )

    def option(name: str, variable: str, default: str, text: str, kind: type = str) -> None:
        value = os.environ.get(variable) or default
        parser.add_argument(name, type=kind, default=value, help=f"{text} [{variable}]")

    option("--port", "DISAGG_AGENT_PORT", str(PORT), "port of the answers", int)
    option("--model", "DISAGG_MODEL", "", "the model's directory in the engine, or its repository")
    option("--engine-metrics", "DISAGG_ENGINE_METRICS", "", "URL of the reference engine's metrics")
    option("--nixl-metrics", "DISAGG_NIXL_METRICS", "", "URL of NIXL's Prometheus exporter")
    option("--sys-root", "DISAGG_AGENT_SYS_ROOT", "/sys", "where the sys file system is", Path)
    option("--proc-root", "DISAGG_AGENT_PROC_ROOT", "/proc", "where the proc file system is", Path)
    parser.add_argument("--once", action="store_true", help="print the evidence as JSON and end")
    return parser
