"""Profiles a worker with the nsys of its image, and fetches the report.

Invariants: whatever happens, interruption included, nsys is stopped and its folder in the pod removed, or the
user is told where it is; the local file exists only once it is whole.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from disagg_operator.cli import nsys
from disagg_operator.cli.live.connection import Connection, told
from disagg_operator.cli.live.pod_exec import BrokenOffError, Done, ExecError, ForbiddenError, PodExec
from disagg_operator.cli.steps import Teller
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import DISAGG_DEPLOYMENT, POD, Object

_MOST_PODS = 500
_TRIES = 5
_MEGA = 1e6
_CLEANING_SECONDS = 30.0
_FIND = """
for program in "$(command -v nsys)" /usr/local/cuda/bin/nsys /opt/nvidia/nsight-systems*/bin/nsys \\
  /opt/nvidia/nsight-systems*/*/bin/nsys /opt/nvidia/nsight-systems*/*/target-linux-*/nsys; do
  [ -x "$program" ] && echo "$program" && break
done
"""
_FOLDER = (
    'for d in "${TMPDIR:-/tmp}" /dev/shm; do mktemp -d "$d/disagg-profile.XXXXXX" 2>/dev/null && break; done'
)
_RUN = 'echo $$ > "$0/pid"; exec "$@"'
_STOP = """
pid=$(cat "$0/pid" 2>/dev/null)
if [ -n "$pid" ] && kill -INT "$pid" 2>/dev/null; then
  for _ in 1 2 3 4 5 6 7 8 9 10; do kill -0 "$pid" 2>/dev/null || break; sleep 1; done
  kill -KILL "$pid" 2>/dev/null
fi
"""
_REMOVE = 'rm -rf "$0"'
_REPORT = 'for f in "$0"/report.*; do [ -f "$f" ] && wc -c "$f"; done'
_MISSING = """the image of {pod} has no nsys (looked on the PATH, in /usr/local/cuda and in /opt/nvidia).
Either use an image that has NVIDIA Nsight Systems (package nsight-systems-cli of NVIDIA's CUDA repository),
or mount a volume that has it at /opt/nvidia/nsight-systems by spec.{role}.podTemplate."""


@dataclass(frozen=True)
class Wish:
    """What is to be profiled.

    Attributes:
        deployment: name of the DisaggDeployment.
        role: prefill or decode.
        pod: name of the pod, or nothing for the first that is ready.
        seconds: for how long.
        flags: flags of nsys of the user's.
        switches: GUIDs of InfiniBand switches, with commas.
    """

    deployment: str
    role: str
    pod: str
    seconds: int
    flags: Sequence[str] = ()
    switches: str = ""


async def profile(connection: Connection, wish: Wish, target: Path | None, teller: Teller) -> Path:
    """Profile a worker, and return the local file of the report.

    Args:
        connection: the cluster.
        wish: what is to be profiled.
        target: where to write the report, or None for a name made of pod and nsys' own ending.
        teller: is told what goes on.

    Raises:
        UserError: it could not be profiled.
    """
    pod = await _pod(connection, wish)
    name, container = pod["metadata"]["name"], pod["spec"]["containers"][0]["name"]
    worker = PodExec(connection.configuration, connection.namespace, name, container)
    try:
        return await _Worker(worker, name, wish, teller).profile(target)
    except ForbiddenError as error:
        raise UserError(
            f"you may not run programs in pods of namespace {connection.namespace}: ask your administrator "
            f"for the RBAC verbs 'get' and 'create' on 'pods/exec' (the API server says: {error})"
        ) from None
    except ExecError as error:
        raise UserError(f"{name}: {error}") from None
    finally:
        await worker.close()


async def _pod(connection: Connection, wish: Wish) -> Object:
    """Return the pod that is meant."""
    with told(connection, "get", DISAGG_DEPLOYMENT, wish.deployment):
        await connection.cluster.get(DISAGG_DEPLOYMENT, connection.namespace, wish.deployment)
    labels = names.selector(wish.deployment, wish.role)
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    with told(connection, "list", POD):
        page = await connection.cluster.list_page(POD, connection.namespace, selector, None, _MOST_PODS)
    pods: dict[str, Object] = {pod["metadata"]["name"]: pod for pod in page["items"]}
    ready = sorted(name for name, pod in pods.items() if _is_ready(pod))
    if wish.pod:
        if wish.pod not in pods:
            raise UserError(
                f"{wish.pod} is no {wish.role} worker of {wish.deployment}; there are: {_listed(pods)}."
            )
        return pods[wish.pod]
    if not ready:
        raise UserError(
            f"no {wish.role} worker of {wish.deployment} is ready (there are: {_listed(pods)}): wait until "
            "one is, or name one by --pod."
        )
    return pods[ready[0]]


def _listed(pods: dict[str, Object]) -> str:
    return ", ".join(sorted(pods)) or "none"


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", [])
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


class _Worker:
    """The container of one worker."""

    def __init__(self, container: PodExec, pod: str, wish: Wish, teller: Teller) -> None:
        self._container, self._pod, self._wish, self._teller = container, pod, wish, teller
        self._runs = False

    async def profile(self, target: Path | None) -> Path:
        """Profile it, and return the local file of the report."""
        program = await self._nsys()
        flags = await self._flags(program)
        async with self._folder() as folder:
            await self._measure(program, flags, folder)
            remote, size = await self._report(folder)
            local = target or Path(f"{self._pod}{Path(remote).suffix}")
            await self._fetch(remote, size, local)
        return local

    async def _nsys(self) -> str:
        found = await self._shell(_FIND)
        program = found.output.strip()
        if not program:
            text = _MISSING.format(pod=self._pod, role=self._wish.role)
            raise UserError(" ".join(text.split()))
        self._teller.say(f"{program} of {self._pod}")
        return program

    async def _flags(self, program: str) -> Sequence[str]:
        told_help = await self._container.text(program, "profile", "--help")
        chosen = nsys.choose(told_help.output + told_help.complaint, self._wish.flags, self._wish.switches)
        if chosen.left_out:
            self._teller.say(
                f"left out, as this nsys does not know them: {' '.join(chosen.left_out)}", "yellow"
            )
        return chosen.flags

    @asynccontextmanager
    async def _folder(self) -> AsyncGenerator[str]:
        """Make a folder in the pod for a while; in the end, stop what was started there and remove it."""
        made = await self._shell(_FOLDER)
        folder = made.output.strip()
        if not folder:
            raise UserError(
                f"{self._pod} has no place for a report: neither $TMPDIR or /tmp nor /dev/shm can be "
                f"written. Mount an emptyDir at /tmp by spec.{self._wish.role}.podTemplate."
            )
        try:
            yield folder
        finally:
            await self._clean(folder)

    async def _clean(self, folder: str) -> None:
        self._teller.now(f"cleaning up in {self._pod}")
        try:
            async with asyncio.timeout(_CLEANING_SECONDS):
                # The process id of an nsys that has ended may be another process's by now.
                await self._shell(f"{_STOP if self._runs else ''}{_REMOVE}", folder)
        except (ExecError, TimeoutError) as error:
            remedy = f"kubectl exec {self._pod} -- rm -rf {folder}"
            self._teller.say(f"{folder} could not be removed ({error}). Remove it: {remedy}", "yellow")

    async def _measure(self, program: str, flags: Sequence[str], folder: str) -> None:
        seconds = str(self._wish.seconds)
        command = (program, "profile", *flags, "-o", f"{folder}/report", "sleep", seconds)
        self._teller.say(f"profiling for {seconds} s: {' '.join(command)}")
        self._teller.now(f"nsys runs in {self._pod} for {seconds} s, and writes its report then")
        wrote = bytearray()
        self._runs = True
        code = await self._container.run(("sh", "-c", _RUN, folder, *command), wrote.extend, wrote.extend)
        self._runs = False
        if code:
            said = " ".join(wrote.decode(errors="replace").split())[-1500:]
            raise UserError(
                f"nsys ended with {code}: {said or 'it said nothing'}. Flags can be replaced, such as by "
                "--flag=--sample=none; GPU metrics need administrator rights on the node or its driver's "
                "NVreg_RestrictProfilingToAdminUsers=0."
            )

    async def _report(self, folder: str) -> tuple[str, int]:
        """Return path and size of the report."""
        found = await self._shell(_REPORT, folder)
        sizes = [line.split(None, 1) for line in found.output.splitlines()]
        if not sizes:
            raise UserError(f"nsys left no report in {folder} of {self._pod}.")
        size, path = max(sizes, key=lambda pair: int(pair[0]))
        return path, int(size)

    async def _fetch(self, remote: str, size: int, local: Path) -> None:
        """Copy a file of the pod; where the connection breaks, go on from there."""
        self._teller.say(f"fetching {remote} ({size:,} bytes)")
        part = local.with_name(f"{local.name}.part")
        try:
            with part.open("wb") as file:
                for attempt in range(_TRIES):
                    await self._append(remote, size, file)
                    if file.tell() == size:
                        break
                    self._teller.say(f"the connection broke after {file.tell():,} bytes: going on", "yellow")
                    await asyncio.sleep(attempt)
                else:
                    raise UserError(f"{remote} came only in part: {file.tell():,} of {size:,} bytes.")
            part.replace(local)
        except OSError as error:
            raise UserError(f"{local} cannot be written: {error.strerror}") from None
        finally:
            part.unlink(missing_ok=True)

    async def _append(self, remote: str, size: int, file: IO[bytes]) -> None:
        def take(data: bytes) -> None:
            file.write(data)
            self._teller.now(f"{file.tell() / _MEGA:.1f} of {size / _MEGA:.1f} MB of the report have come")

        complaint = bytearray()
        try:
            await self._container.run(("tail", "-c", f"+{file.tell() + 1}", remote), take, complaint.extend)
        except BrokenOffError:
            return

    async def _shell(self, script: str, *arguments: str) -> Done:
        """Run a script of the shell, whose ``$0`` is the first argument."""
        try:
            return await self._container.text("sh", "-c", script, *arguments)
        except (ForbiddenError, BrokenOffError):
            raise
        except ExecError as error:
            raise UserError(
                f"nothing can be run in {self._pod} ({error}): its image has no shell, and so no nsys "
                f"either. Use an image for {self._wish.role} workers that has both."
            ) from None
