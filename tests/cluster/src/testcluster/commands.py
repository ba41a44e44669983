"""Running programs: output to a log or a string, and failures as sentences."""

import os
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from testcluster.errors import ClusterError


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    return {**os.environ, **(extra or {})}


def fault(text: str) -> str:
    """The line of a failed program's output that names the fault: its last error, else its last line."""
    lines = text.splitlines() or ["it said nothing"]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines)[-1]


def output(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 120,
) -> str:
    """Run a program and return what it printed.

    Args:
        argv: Program and arguments.
        env: Variables added to this process's own.
        stdin: Text given to its standard input.
        timeout: Seconds until it counts as failed.

    Raises:
        ClusterError: If it cannot be run, fails or takes too long; the message names the fault.
    """
    shown = shlex.join(list(argv)[:6])
    try:
        done = subprocess.run(
            list(argv),
            env=_environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError:
        raise ClusterError(f"{argv[0]} is not installed", remedy=f"install {argv[0]}") from None
    except subprocess.TimeoutExpired:
        raise ClusterError(f"`{shown}` did not end within {timeout:.0f} s") from None
    if done.returncode != 0:
        raise ClusterError(f"`{shown}` failed: {fault(done.stderr.strip() or done.stdout.strip())}")
    return done.stdout


def succeeds(argv: Sequence[str], *, timeout: float = 30) -> bool:
    """Whether a program can be run and exits with 0."""
    try:
        output(argv, timeout=timeout)
    except ClusterError:
        return False
    return True


def logged(
    argv: Sequence[str],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a program with its output in a log file.

    Args:
        argv: Program and arguments.
        log: File that gets standard output and error; appended to.
        env: Variables added to this process's own.
        cwd: Folder to run in.
        on_line: Called with each line as it comes.

    Raises:
        ClusterError: If it cannot be run or fails; names the log and quotes its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    last = ""
    try:
        with (
            log.open("a", encoding="utf-8") as sink,
            subprocess.Popen(
                list(argv),
                env=_environment(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process,
        ):
            sink.write(f"$ {shlex.join(argv)}\n")
            assert process.stdout is not None
            for line in process.stdout:
                sink.write(line)
                sink.flush()
                last = line.strip() or last
                if on_line is not None and line.strip():
                    on_line(line.strip())
    except FileNotFoundError:
        raise ClusterError(f"{argv[0]} is not installed", remedy=f"install {argv[0]}") from None
    if process.returncode != 0:
        raise ClusterError(f"`{shlex.join(list(argv)[:4])} …` failed: {last or 'it said nothing'}", log=log)
