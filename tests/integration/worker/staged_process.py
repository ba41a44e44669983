"""The owner of a staged transfer in a process of its own; commands and answers are JSON lines."""

import json
import os
import select
import sys
from pathlib import Path

import numpy as np

from disagg_worker.memory import region_of
from disagg_worker.transfer.staged.notes import layout_of

sys.path.insert(0, str(Path(__file__).parents[2]))

from integration.worker.staged_side import Side

side = Side(sys.argv[1], layout_of(json.loads(sys.argv[2])))
side.memory[:] = np.arange(len(side.memory), dtype=np.uint64).astype(np.uint8)
while True:
    if select.select([sys.stdin], [], [], 0)[0]:
        line = sys.stdin.readline()
        if not line:
            os._exit(0)
        asked = json.loads(line)
        side.sender.offer("prompt", asked["offer"], asked["tokens"], asked["computed"])
        answer = {
            "agent": side.name,
            "metadata": side.agent.metadata().hex(),
            "address": region_of(side.memory).address,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    side.step()
