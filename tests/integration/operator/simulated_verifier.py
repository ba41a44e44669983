"""An operator process whose verifier is FAKE: it finds what a test writes into a file.

The folder ``$VERIFIER_FOLDER`` holds ``<deployment>.json``, a result; without it the measurement goes on.
``asked.jsonl`` gets a line for each question that differs from the last one of its deployment.
"""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.verification.verifier import (
    VerificationAsked,
    VerificationResult,
    VerificationState,
)
from disagg_operator.runtime import main, operator

FOLDER = Path(os.environ.get("VERIFIER_FOLDER", "."))


class FileVerifier:
    """Answers from files."""

    def __init__(self, _logs: object, changed: Callable[[Key], None], _metrics: object) -> None:
        self._changed = changed
        self._last: dict[Key, VerificationAsked] = {}

    def want(self, key: Key, asked: VerificationAsked) -> VerificationState:
        last = self._last.get(key)
        self._last[key] = asked
        if last is None or last.round != asked.round:
            line = {
                "name": asked.name,
                "revision": asked.revision,
                "request": asked.request,
                "workers": len(asked.workers),
                "frontends": list(asked.frontends),
            }
            with (FOLDER / "asked.jsonl").open("a", encoding="utf-8") as log:
                log.write(json.dumps(line) + "\n")
        try:
            found = json.loads((FOLDER / f"{key.name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return VerificationState("counting bytes")
        if found["request"] != asked.request or found["revision"] not in ("", asked.revision):
            return VerificationState("counting bytes")
        result = VerificationResult(
            verified=found["verified"],
            reason=found["reason"],
            message=found["message"],
            time=datetime.fromtimestamp(found["time"], UTC).replace(microsecond=0),
            label=found["label"],
            bytes=found["bytes"],
            expected_bytes=found["bytes"],
        )
        return VerificationState(result=result)

    def forget(self, key: Key) -> None:
        self._last.pop(key, None)

    async def run(self) -> None:
        seen: dict[Key, float] = {}
        while True:
            for key in list(self._last):
                file = FOLDER / f"{key.name}.json"
                written = file.stat().st_mtime if file.exists() else 0.0
                if seen.get(key, 0.0) != written:
                    seen[key] = written
                    self._changed(key)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    vars(operator)["TransportVerifier"] = FileVerifier
    main.main()
