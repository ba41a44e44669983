"""One agent of real NIXL with host memory, in a process of its own; commands and answers are JSON lines.

{} tells the agent's metadata and where its memory is; {"metadata": …, "address": …} reads all of a peer's
memory into its own and tells how many bytes of it are the peer's, which fills its memory with the number 7.
"""

import argparse
import base64
import ctypes
import json
import os
import sys
import time
from typing import Any

import numpy as np

from disagg_worker.transfer.transport import prepare_evidence

PEER_FILL = 7


def read(agent: Any, memory: np.ndarray, backend: str, metadata: bytes, address: int) -> int:
    name = agent.add_remote_agent(metadata)
    local = agent.get_xfer_descs([(memory.ctypes.data, memory.nbytes, 0)], "DRAM")
    remote = agent.get_xfer_descs([(address, memory.nbytes, 0)], "DRAM")
    handle = agent.initialize_xfer("READ", local, remote, name, b"done", [backend])
    state = agent.transfer(handle)
    deadline = time.monotonic() + 50
    while state == "PROC" and time.monotonic() < deadline:
        time.sleep(0.001)
        state = agent.check_xfer_state(handle)
    ctypes.CDLL(None).fflush(None)  # UCX's log
    if state != "DONE":
        raise SystemExit(f"the read ended with {state}")
    return int(np.count_nonzero(memory == PEER_FILL))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--backend", required=True)
    parser.add_argument("--bytes", type=int, required=True)
    given = parser.parse_args()
    prepare_evidence(os.environ)
    from nixl._api import nixl_agent, nixl_agent_config  # noqa: PLC0415 - UCX reads its environment once

    agent = nixl_agent(f"agent-{os.getpid()}", nixl_agent_config(backends=[given.backend]))
    memory = np.full(given.bytes, PEER_FILL, dtype=np.uint8)
    agent.register_memory(
        agent.get_reg_descs([(memory.ctypes.data, memory.nbytes, 0, "")], "DRAM"), backends=[given.backend]
    )
    for line in sys.stdin:
        command = json.loads(line)
        answer: dict[str, Any] = {"address": memory.ctypes.data, "pid": os.getpid()}
        if "metadata" in command:
            memory[:] = 0
            metadata = base64.b64decode(command["metadata"])
            answer["read"] = read(agent, memory, given.backend, metadata, command["address"])
        else:
            answer["metadata"] = base64.b64encode(agent.get_agent_metadata()).decode()
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    os._exit(0)  # without the destructors of NIXL's libraries


main()
