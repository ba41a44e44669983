"""``kubectl disagg rollout``: shows the steps of a rollout before it is run, follows it, and steers it."""

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console

from disagg_operator.cli import documents
from disagg_operator.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    seconds,
)
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.exit_codes import Code, ScriptedCommand
from disagg_operator.cli.place import Place
from disagg_operator.cli.planning import WorkerImageOption, planned, released_worker_image
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.rollout_report import (
    HEADINGS,
    STATUS_HEADINGS,
    document,
    has_failed,
    interruption,
    is_done,
    kept,
    progressing,
    rows,
    status_rows,
    title,
)
from disagg_operator.cli.steps import Steps
from disagg_operator.cli.terminal import Format, UserError, errors, fail, printable, show, warn
from disagg_operator.plan.cluster import UNSEEN
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.rollout.simulation import planned_steps, ready
from disagg_operator.plan.rollout.stepper import Goal, Revision
from disagg_operator.reconcile.rollout.progress import goal_of

T = TypeVar("T")
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="text: a table.")]

app = typer.Typer(
    name="rollout",
    help="Show the steps of a rollout before it is run, follow it, and steer it.",
    no_args_is_help=True,
    add_completion=False,
)


@app.command()
def plan(
    file: Annotated[str, typer.Option("--file", "-f", help="YAML file of the change; - reads stdin.")],
    old: Annotated[
        str,
        typer.Option(
            "--from",
            help="YAML file of what runs, to ask no cluster. Default: the cluster says what runs.",
            show_default=False,
        ),
    ] = "",
    worker_image: WorkerImageOption = "",
    *,
    profiles: ProfilesFolder = None,
    form: OutputOption = Format.TEXT,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the steps by which a change would take over; nothing is changed."""
    try:
        installation = Installation(
            worker_image=worker_image or released_worker_image(), catalogue=catalogue(profiles)
        )
        wanted = _only(file)
        if old:
            change = _planned(wanted, namespace, installation, file)
            before = _planned(_only(old), namespace, installation, old)
            counts = {role: before.roles[role].replicas for role in ROLES}
            _print(change, goal_of(change), {before.revision: ready(counts)}, form)
            return

        async def look(connection: Any) -> tuple[Plan, Goal, Mapping[str, Revision], str]:
            change = _planned(wanted, connection.namespace, installation, file)
            return change, *await _against_cluster(connection, change, installation)

        change, goal, there, behind = connected(Place(namespace, context, kubeconfig), look)
        _print(change, goal, there, form)
        if behind:
            warn(behind)
    except UserError as error:
        fail(error)


@app.command(
    cls=ScriptedCommand,
    epilog="Exit codes: 0 rolled out, 1 given up or stopped, 2 still going on (--no-watch), 3 nobody "
    "answers, 4 not done in time, 64 wrong usage.",
)
def status(
    name: NameArgument,
    *,
    watch: Annotated[bool, typer.Option("--watch/--no-watch", help="Wait until it is done.")] = True,
    timeout: Annotated[
        float, typer.Option(parser=seconds, metavar="DURATION", help="Longest wait, such as 90s or 2h.")
    ] = "1h",  # type: ignore[assignment]  # the parser reads it
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Say where a rollout stands, and wait until it is done."""
    from disagg_operator.cli.live import asking, rollouts  # noqa: PLC0415 - loads the Kubernetes client

    async def work(connection: Any) -> tuple[dict[str, Any], Any]:
        if watch:
            with Steps(errors()) as steps:
                resource = await rollouts.follow(connection, name, timeout, steps)
        else:
            resource = await asking.deployment(connection, name)
        return resource, await rollouts.revisions(connection, name)

    try:
        resource, found = connected(Place(namespace, context, kubeconfig), work)
    except rollouts.TimedOutError as error:
        fail(error, Code.TIMEOUT)
    except UserError as error:
        fail(error, Code.ERROR)
    condition = progressing(resource)
    show(STATUS_HEADINGS, status_rows(resource, rollouts.instances_of(found)))
    Console(soft_wrap=True).print(printable(f"{condition['reason']}: {condition['message']}"), markup=False)
    if kept(resource):
        warn(kept(resource))
    if not is_done(condition):
        raise typer.Exit(Code.UNKNOWN)
    raise typer.Exit(Code.NOT_VERIFIED if has_failed(condition) else 0)


@app.command()
def pause(
    name: NameArgument,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let a rollout stay where it is; both revisions serve meanwhile."""
    _set_paused(name, Place(namespace, context, kubeconfig), paused=True)


@app.command()
def resume(
    name: NameArgument,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Let a paused rollout go on."""
    _set_paused(name, Place(namespace, context, kubeconfig), paused=False)


@app.command()
def retry(
    name: NameArgument,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Try a revision again that was given up."""
    from disagg_operator.cli.live import rollouts  # noqa: PLC0415 - loads the Kubernetes client

    async def work(connection: Any) -> str:
        return await rollouts.retry(connection, name)

    revision = _done(Place(namespace, context, kubeconfig), work)
    typer.echo(f"revision {revision} of {name} is tried again")


@app.command()
def update(
    name: NameArgument,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Replace pods that an older version of the operator planned, where they were kept."""
    from disagg_operator.cli.live import rollouts  # noqa: PLC0415 - loads the Kubernetes client

    async def work(connection: Any) -> str:
        return await rollouts.update(connection, name)

    _done(Place(namespace, context, kubeconfig), work)
    typer.echo(f"{name} is rolled out as this version of the operator plans it")


def _set_paused(name: str, place: Place, *, paused: bool) -> None:
    from disagg_operator.cli.live import rollouts  # noqa: PLC0415 - loads the Kubernetes client

    async def work(connection: Any) -> bool:
        return await rollouts.pause(connection, name, paused=paused)

    changed = _done(place, work)
    word = "paused" if paused else "not paused"
    typer.echo(f"{name} is {word}{'' if changed else ' already'}")


def _done(place: Place, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do work with a connection to the cluster, or end with what keeps it from being done."""
    try:
        return connected(place, work)
    except UserError as error:
        fail(error)


async def _against_cluster(
    connection: Any, change: Plan, installation: Installation
) -> tuple[Goal, Mapping[str, Revision], str]:
    """Return what a change is to come to from what the cluster has, and what is kept of an older operator."""
    from disagg_operator.cli.live import rollouts  # noqa: PLC0415 - loads the Kubernetes client

    live = await rollouts.find(connection, change.name)
    if live is None:
        return goal_of(change), {}, ""
    there = await rollouts.revisions(connection, change.name)
    now = _planned(live, connection.namespace, installation, "the cluster")
    goal = goal_of(change)
    if now.revision == change.revision:
        # Which settings of the installation are part of a revision's hash is the operator's to know.
        current = live.get("status", {}).get("updateRevision") or change.revision
        goal = Goal(goal.strategy, current, goal.replicas, goal.limits)
    return goal, there, kept(live)


def _only(file: str) -> dict[str, Any]:
    found = documents.read(file)
    if len(found) > 1:
        raise UserError(f"{file}: holds {len(found)} DisaggDeployments; write one")
    return found[0]


def _planned(resource: dict[str, Any], namespace: str, installation: Installation, file: str) -> Plan:
    return planned(resource, namespace or "default", installation, UNSEEN, file)


def _print(change: Plan, goal: Goal, there: Mapping[str, Revision], form: Format) -> None:
    steps = list(planned_steps(goal, there))
    old = sorted(there.keys() - {goal.revision})
    if form is Format.JSON:
        typer.echo(json.dumps(document(change, old, goal.revision, steps), indent=2))
        return
    if not steps:
        typer.echo(f"{change.namespace}/{change.name}: no worker is started or restarted")
        return
    show(HEADINGS, rows(steps), title=title(change, old, goal.revision))
    why = interruption(change, steps, old)
    if why is not None:
        warn(why)
