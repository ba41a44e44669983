"""The `testcluster` command: a cluster up, down and looked at, its images, and the demo."""

import json
import os
import sys
from dataclasses import asdict
from typing import Annotated, Literal

import typer
from rich.console import Console

from testcluster.cache import clean_cache
from testcluster.console import Progress, failures_as_sentences
from testcluster.demo import Demo, remove_demo
from testcluster.paths import default_paths
from testcluster.session import Session, open_session
from testcluster.toolchain import ensure_tools

app = typer.Typer(
    help="A real Kubernetes for tests and the demo. CLUSTER=kind|local|existing chooses the provider.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console(highlight=False, soft_wrap=True)
INTERRUPTED = "Interrupted; what was started is found again by the next run."


def _session() -> Session:
    # kubectl and helm keep what they learn of a cluster there, not in the person's home.
    os.environ.setdefault("KUBECACHEDIR", str(default_paths().cache / "kubectl"))
    return open_session(os.environ, Progress())


def _say_what_is_kept(session: Session) -> None:
    out.print(
        f"Kept: the Debian packages, and build outputs in {session.paths.cache}, "
        "which `make clean-cache` removes."
    )


@app.command()
def up(
    images: Annotated[bool, typer.Option(help="Build the images and load them into the cluster.")] = True,
) -> None:
    """Bring the cluster up; quick and harmless if it is."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        session = _session()
        if images:
            session.up()
        else:
            session.provider.up()
        out.print(f"The cluster is up. export KUBECONFIG={session.provider.kubeconfig}")


@app.command()
def down() -> None:
    """Remove the cluster and put the machine back as it was; build outputs are kept."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        session = _session()
        session.provider.down()
        _say_what_is_kept(session)


@app.command()
def status(
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", help="How to print it.")
    ] = "table",
) -> None:
    """Show the cluster's parts; exit code 1 if one does not work."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        session = _session()
        parts = session.provider.status()
        if output == "json":
            shown = {"provider": session.provider.name, "kubeconfig": str(session.provider.kubeconfig)}
            sys.stdout.write(json.dumps(shown | {"parts": [asdict(part) for part in parts]}, indent=1) + "\n")
        else:
            out.print(f"provider: {session.provider.name}")
            width = max(len(part.name) for part in parts)
            for part in parts:
                state = "[green]works[/]" if part.healthy else "[red]down[/] "
                # No table: it would cut paths off to the terminal's width, and they are there to be copied.
                out.print(f"{part.name:<{width}}  {state}  {part.detail}")
    if not all(part.healthy for part in parts):
        raise typer.Exit(1)


@app.command()
def images() -> None:
    """Build the images, load them if the cluster is up, and print their references."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        session = _session()
        built = session.images()
        if all(part.healthy for part in session.provider.status()):
            session.provider.load(built)
        for image in built:
            out.print(f"{image.name}\t{image.reference}")


@app.command()
def kubeconfig() -> None:
    """Print the path of the administrator's kubeconfig."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        out.print(str(_session().provider.kubeconfig))


@app.command()
def tools() -> None:
    """Build the embedded cluster's programs (kubectl and helm among them) and print their folder."""
    progress = Progress()
    with failures_as_sentences(progress, INTERRUPTED):
        out.print(str(ensure_tools(default_paths(), progress).directory))


@app.command()
def demo(
    remove: Annotated[bool, typer.Option("--remove", help="Remove the demo and its cluster.")] = False,
) -> None:
    """From nothing to an answered chat request, and the KV bytes that moved for it."""
    with failures_as_sentences(Progress(), INTERRUPTED):
        session = _session()
        if remove:
            remove_demo(session)
            _say_what_is_kept(session)
        else:
            Demo(session, out).run()


@app.command("clean-cache")
def clean() -> None:
    """Remove all build outputs; the cluster has to be down."""
    progress = Progress()
    with failures_as_sentences(progress, INTERRUPTED):
        clean_cache(default_paths(), progress)


def main() -> None:
    """Entry point."""
    app()
