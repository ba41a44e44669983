"""One side of a KV read between two GPUs: `source` lends memory of its GPU, `reader` reads it.

It obeys its input, a JSON list a line, and answers each with one line. `look` is answered with what the
transport agent tells of this side. The second argument is the number of the GPU.
"""

import base64
import ctypes
import json
import subprocess
import sys
import time
import uuid
from typing import Any

import torch
from nixl._api import nixl_agent, nixl_agent_config

PIECE = 32 << 20  # bytes; large enough for the link, not for one descriptor to be all


class Side:
    """An agent with memory on one GPU."""

    def __init__(self, gpu: int) -> None:
        self._gpu = gpu
        self._agent = nixl_agent(f"gpu-{gpu}-{uuid.uuid4().hex[:8]}", nixl_agent_config(backends=["UCX"]))
        self._memory = torch.empty(0)
        self._peer = ""

    def lend(self, size: int) -> list[Any]:
        """Register memory that holds a pattern; return the agent's metadata and the address."""
        self._memory = torch.arange(size // 8, dtype=torch.int64, device=f"cuda:{self._gpu}")
        return self._register()

    def prepare(self, size: int, metadata: str) -> list[Any]:
        """Register empty memory and learn of the peer."""
        self._memory = torch.zeros(size // 8, dtype=torch.int64, device=f"cuda:{self._gpu}")
        self._peer = self._agent.add_remote_agent(base64.b64decode(metadata))
        return self._register()

    def _register(self) -> list[Any]:
        torch.cuda.synchronize(self._gpu)
        self._agent.register_memory([self._memory])
        return [base64.b64encode(self._agent.get_agent_metadata()).decode(), self._memory.data_ptr()]

    def read(self, address: int, peer_gpu: int) -> list[Any]:
        """Read all of the peer's memory; return the seconds and whether it arrived whole."""
        size = self._memory.numel() * 8
        own, other = (
            self._agent.get_xfer_descs([(base + at, PIECE, gpu) for at in range(0, size, PIECE)], "VRAM")
            for base, gpu in ((self._memory.data_ptr(), self._gpu), (address, peer_gpu))
        )
        self._memory.zero_()
        torch.cuda.synchronize(self._gpu)
        handle = self._agent.initialize_xfer("READ", own, other, self._peer)
        begun = time.perf_counter()
        state = self._agent.transfer(handle)
        while state == "PROC":
            state = self._agent.check_xfer_state(handle)
        seconds = time.perf_counter() - begun
        self._agent.release_xfer_handle(handle)
        expected = torch.arange(self._memory.numel(), dtype=torch.int64, device=self._memory.device)
        return [seconds, state == "DONE" and bool(torch.equal(self._memory, expected))]

    def copy(self, peer_gpu: int) -> list[Any]:
        """Copy as many bytes from the peer's GPU by the copy engine; return the best seconds of four."""
        other = torch.zeros_like(self._memory, device=f"cuda:{peer_gpu}")
        took = []
        for _ in range(4):
            torch.cuda.synchronize(peer_gpu)
            begun = time.perf_counter()
            self._memory.copy_(other)
            torch.cuda.synchronize(self._gpu)
            took.append(time.perf_counter() - begun)
        return [min(took)]

    def look(self) -> Any:
        """Return the evidence of the transport agent beside this side."""
        ctypes.CDLL(None).fflush(None)  # UCX keeps its tables back
        agent = [sys.executable, "-m", "disagg_worker.main", "agent", "--once"]
        return json.loads(subprocess.run(agent, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    """Obey the input until it ends."""
    side = Side(int(sys.argv[1]))
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        sys.stdout.write(json.dumps({"answer": getattr(side, verb)(*arguments)}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
