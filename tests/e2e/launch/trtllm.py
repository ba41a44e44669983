"""SIMULATED TensorRT-LLM, for tests of how ranks are started.

Called as `trtllm-llmapi-launch` it is what each rank runs: it reports the rank's variables; rank 0 runs the
worker's command in addition, and the others stay until that has ended. Called as `python3 -m dynamo.trtllm`,
it is the worker: it answers probes until it is asked to end, takes a moment for its last requests, and
says so; once the file `poison` is there, it says what TensorRT-LLM says of a poisoned transfer buffer. Called
as python3 with anything else, it is Python.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPORTS = Path(os.environ["REPORTS"])
DRAIN_SECONDS = 1.0
# https://github.com/ai-dynamo/dynamo/pull/9434
POISONED = (
    "[TensorRT-LLM][ERROR] Cannot assign cache transfer buffer kind=kv because a previous transfer left the "
    "buffer pool poisoned. The process must restart before these memory ranges can be safely reused."
)


def rank() -> None:
    """Be one rank, as `trtllm-llmapi-launch COMMAND...` is."""
    number = os.environ["OMPI_COMM_WORLD_RANK"]
    report = REPORTS / f"rank-{number}.json"
    partial = report.with_suffix(".partial")
    partial.write_text(json.dumps({**os.environ, "UNAME": os.uname().nodename}))
    partial.rename(report)
    if number == "0":
        code = subprocess.call(sys.argv[1:])
        (REPORTS / "ended").touch()
        sys.exit(code)
    began = report.stat().st_mtime
    # An earlier start of the group may have ended in the same place.
    while not (ended := REPORTS / "ended").exists() or ended.stat().st_mtime < began:
        time.sleep(0.05)


class Health(BaseHTTPRequestHandler):
    """Says that all is well."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/live", "/health") else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def worker() -> None:
    """Serve until asked to end."""
    server = ThreadingHTTPServer(("0.0.0.0", int(os.environ["DYN_SYSTEM_PORT"])), Health)  # noqa: S104

    def end(*_: object) -> None:
        time.sleep(DRAIN_SECONDS)
        (REPORTS / "drained").write_text(" ".join(sys.argv[1:]))
        os._exit(0)

    def poison() -> None:
        while not (REPORTS / "poison").exists():
            time.sleep(0.05)
        print(POISONED, flush=True)

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=poison, daemon=True).start()
    server.serve_forever()


if Path(sys.argv[0]).name == "trtllm-llmapi-launch":
    rank()
elif sys.argv[1:2] != ["-m"]:
    os.execv("/usr/bin/python3", sys.argv)  # noqa: S606 - what the launch asks for
else:
    worker()
