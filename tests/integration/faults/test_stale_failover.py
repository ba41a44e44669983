"""Who takes over with caches that are out of date does no harm: it waits until they show what there is."""

import time
from collections.abc import Callable

import pytest

from integration.faults.conftest import Audit, ProxyMaker
from integration.faults.faults import Hold, Recall
from integration.faults.leading import writes_of
from integration.faults.requests import Match
from integration.faults.scenario import await_settled, deployed, identities
from integration.faults.turns import out_of_turn
from integration.operator.control_plane import OWNED, Api, OperatorProcess, eventually

# Operators are started in it, each of which a busy machine lets wait.
pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(900)]

MANAGED = (*OWNED, "pods")
STALE_SECONDS = 3.0


def test_a_successor_whose_caches_lack_everything_takes_nothing_away(
    api: Api,
    namespace: str,
    audited: Audit,
    new_proxy: ProxyMaker,
    new_operator: Callable[..., OperatorProcess],
) -> None:
    """Its lists are from before the deployment was made, and its watches say nothing for a while."""
    recall, hold = Recall(), Hold()
    proxies = new_proxy(), new_proxy()
    for proxy in proxies:
        proxy.on(Match(verbs={"list"}, resources=MANAGED), recall)
    first = new_operator("operator-a", kubeconfig=proxies[0].kubeconfig)
    first.wait_until_leading()
    demo = deployed(api, namespace, "demo")
    demo.create(decode={"replicas": 1})
    await_settled([demo])
    demo.edit(decode={"replicas": 3, "engineConfig": {"scheduler": {"max_batch_size": 3}}})
    await_settled([demo])
    before = identities(demo)
    recall.recalling = True
    proxies[1].on(Match(verbs={"watch"}, resources=MANAGED), hold)
    second = new_operator("operator-b", kubeconfig=proxies[1].kubeconfig)
    eventually(lambda: second.says("/readyz"), "the second stands by")
    assert first.stop() == 0
    eventually(lambda: len(writes_of(proxies[1])) > 3, "the second tries to make what its caches lack")
    time.sleep(STALE_SECONDS)
    tried = len(writes_of(proxies[1]))
    assert tried < 40, "with pauses in between"
    assert identities(demo) == before
    recall.recalling = False
    hold.release()
    await_settled([demo])
    eventually(lambda: second.says("/readyz"), "the second is ready")
    demo.edit(prefill={"replicas": 2})
    eventually(
        lambda: [obj["spec"]["replicas"] for obj in demo.find("statefulsets", "prefill")] == [2],
        "the second does its work",
    )
    await_settled([demo])
    after = identities(demo)
    assert all(after[name][0] == uid for name, (uid, _) in before.items()), "no pod was replaced"
    assert not out_of_turn(audited.writes())
