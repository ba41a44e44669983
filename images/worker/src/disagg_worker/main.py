"""The command `disagg-worker`: a worker, the transport agent beside one, or an image's model directory.

The agent is started without the others' way of reading a command line, which would be a third of its memory.
"""

import sys

from disagg_worker.ending import heed_sigterm, leave
from disagg_worker.errors import ConfigError


def main() -> None:
    """Run the command; faults of the user's making end with their text and exit code 1."""
    heed_sigterm()
    try:
        _run(sys.argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"disagg-worker: cannot start\n{error}\n")
        leave(1)
    except SystemExit as end:
        leave(end.code if isinstance(end.code, int) else int(end.code is not None))


def _run(arguments: list[str]) -> None:
    if arguments[:1] == ["agent"]:
        from disagg_worker.agent.command import command  # noqa: PLC0415 - instead of the other import

        command(arguments[1:])
    else:
        from disagg_worker.commands import app  # noqa: PLC0415 - instead of the other import

        app()


if __name__ == "__main__":
    main()
