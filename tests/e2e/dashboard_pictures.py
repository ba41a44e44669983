"""Pictures of the dashboards: `make dashboard-pictures`, on the cluster that `make demo` leaves.

The demo's deployment is asked for answers for some minutes, is scaled up and down meanwhile, and a real
Prometheus scrapes all of it. What the dashboards' queries find then is drawn.
"""

import random
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from chart.asked import DASHBOARDS, filled
from chart.helm import Helm
from e2e.chat import Chat
from e2e.cluster_client import Kubectl
from e2e.observing import observed
from monitoring.picture import Series, picture
from testcluster.console import Progress, failures_as_sentences
from testcluster.demo import DEPLOYMENT, NAMESPACE, SYSTEM_NAMESPACE
from testcluster.prometheus import Prometheus
from testcluster.session import open_session

RANGES = {"__rate_interval": "30s", "__range": "1h"}
CHOSEN = {"namespace": NAMESPACE, "deployment": DEPLOYMENT, "operator": SYSTEM_NAMESPACE}
PICTURES = Path(__file__).parents[2] / "docs/images"
POINTS = 80
INTERRUPTED = "Interrupted; nothing was drawn."
SUBJECTS = ("rivers", "trains", "the sea", "bread", "Paris")


def main(
    minutes: Annotated[float, typer.Option(min=1, help="How long the deployment is asked.")] = 5,
    seed: Annotated[int, typer.Option(help="Seed of the requests.")] = 1,
) -> None:
    """Draw both dashboards into docs/images."""
    progress = Progress()
    with (
        failures_as_sentences(progress, "Interrupted; nothing was drawn."),
        tempfile.TemporaryDirectory() as directory,
    ):
        session = open_session({}, progress)
        kubectl = Kubectl(session.programs.kubectl, session.provider.kubeconfig)
        helm = Helm(Path(session.programs.helm))
        with kubectl.proxy() as http, observed(helm, http, Path(directory), "2s") as prometheus:
            start = time.time()
            with progress.step(f"Ask for answers for {minutes:g} minutes"):
                chance = random.Random(seed)  # noqa: S311 - varies requests, no secret
                _ask(Chat(http, NAMESPACE, DEPLOYMENT), kubectl, start + 60 * minutes, chance)
            with progress.step("Draw the dashboards"):
                _draw_all(prometheus, start, time.time())


def _ask(chat: Chat, kubectl: Kubectl, end: float, chance: random.Random) -> None:
    """Ask until then, more and less often, with prompts of all lengths; scale decode in the middle third."""
    start, decode = time.time(), 1
    while (now := time.time()) < end:
        wanted = 2 if 1 / 3 < (now - start) / (end - start) < 2 / 3 else 1
        if wanted != decode:
            patch = f'{{"spec":{{"decode":{{"replicas":{wanted}}}}}}}'
            kubectl("patch", "dd", DEPLOYMENT, f"--namespace={NAMESPACE}", "--type=merge", f"--patch={patch}")
            decode = wanted
        words = " and ".join(chance.choices(SUBJECTS, k=chance.randint(1, 80)))
        chat.ask(f"Tell me about {words}.", chance.randint(4, 16))
        time.sleep(chance.random() * 2)


def _draw_all(prometheus: Prometheus, start: float, end: float) -> None:
    def ask(query: str, over: bool) -> list[Series]:
        asked = filled(query, RANGES, **CHOSEN)
        if over:
            return list(prometheus.over(asked, start, end, (end - start) / POINTS))
        return list(prometheus.series(asked))

    for name, board in DASHBOARDS.items():
        (PICTURES / f"dashboard-{name}.svg").write_text(picture(board, ask))


if __name__ == "__main__":
    typer.run(main)
