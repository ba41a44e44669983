"""Properties of verdicts over arbitrary evidence."""

from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.verify.canary import Answer, Canary
from disagg_operator.verify.evidence import Evidence
from disagg_operator.verify.judge import judge
from disagg_operator.verify.logs import findings
from disagg_operator.verify.paths import Window
from disagg_operator.verify.verdict import Verdict
from unit.verify.simulated import EXPECTED, PLUGIN, RAILS, ROLES, efa_pod, receives, sends, window

counts = st.integers(0, 2**64) | st.sampled_from([0, 1, 1000, EXPECTED, 2 * EXPECTED])
names = st.sampled_from(["tx_bytes", "rx_bytes", "rdma_read_bytes", "rdma_read_resp_bytes", "other"])
devices = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["rdmap40s0", "mlx5_0"]),
        "kind": st.sampled_from(["efa", "mlx5", "other"]),
        "given": st.sampled_from([True, False, None]),
        "port": st.integers(1, 2),
        "counters": st.dictionaries(names, counts),
    }
)
interfaces = st.fixed_dictionaries(
    {"name": st.sampled_from(["eth0", "lo"]), "rxBytes": counts, "txBytes": counts}
)
links = st.fixed_dictionaries({"gpu": st.just(0), "link": st.just(0), "rxBytes": counts, "txBytes": counts})
lanes = st.sampled_from(["tcp/eth0", "tcp/lo", "cma/memory", "srd/rdmap40s0:1", "unknown", ""])
engines = st.none() | st.fixed_dictionaries(
    {
        "kvServedBytes": counts,
        "kvRead": st.lists(
            st.fixed_dictionaries({"backend": st.just("UCX"), "transport": lanes, "bytes": counts}),
            max_size=2,
        ),
    }
)
plugins = st.sampled_from(["UCX", "LIBFABRIC"]).map(
    lambda name: {"kind": "nixl-plugin", "path": PLUGIN.format(name)}
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "devices": st.lists(devices, max_size=3),
        "interfaces": st.lists(interfaces, max_size=2),
        "nvlink": st.fixed_dictionaries({"available": st.booleans(), "links": st.lists(links, max_size=1)}),
        "nixl": st.fixed_dictionaries({"available": st.booleans(), "rxBytes": counts, "txBytes": counts}),
        "engine": engines,
        "processes": st.lists(
            st.fixed_dictionaries({"pid": st.just(1), "libraries": st.lists(plugins, max_size=2)}), max_size=2
        ),
    },
)
looks = st.dictionaries(
    st.sampled_from(["p-0", "p-1", "d-0"]), documents.map(Evidence.model_validate), min_size=1
)
roles = st.dictionaries(st.sampled_from(["p-0", "p-1", "d-0"]), st.sampled_from(["prefill", "decode", "odd"]))
seconds = st.floats(-1, 1e9)
windows = st.builds(Window, roles | st.just(ROLES), looks, looks, looks, seconds, seconds)
promises = st.builds(
    Promise,
    st.frozensets(st.sampled_from(list(Transport))),
    st.sampled_from(["NIXL", "UCX", "MPI"]),
    st.sampled_from(["UCX", "LIBFABRIC", ""]),
    st.integers(0, 8),
    st.integers(0, 8),
    st.booleans(),
    st.none() | st.floats(0, 1e3),
)
answers = st.builds(Answer, st.none() | st.text(max_size=5), st.sampled_from(["", "refused"]))
canaries = st.none() | st.builds(
    Canary, st.integers(0, 5000), st.none() | st.floats(0, 1e12), answers, answers, seconds
)
texts = st.sampled_from(
    [
        "",
        "using NIXL backend: UCX",
        "Created 1 rails using provider=tcp",
        "cfg#1 rma_am(srd/rdmap40s0:1)",
        "| a inter-node cfg#1 |\n| remote memory read by ucp_get into |\n| 0..inf | zero | cuda_ipc/cuda |",
    ]
)
PROOF = {"WorseTransport", "TooSlow", "AnswersDiffer"}


def stuck(verdict: Verdict) -> bool:
    return verdict.verified != "True"


@given(promises, windows, canaries, texts)
def test_every_evidence_gets_a_verdict(
    promise: Promise, seen: Window, canary: Canary | None, text: str
) -> None:
    verdict = judge({"prefill": promise, "decode": promise}, seen, canary, {"d-0": findings(text)})
    assert verdict.message
    assert verdict.reason
    assert len(verdict.evidence) <= 6
    if not verdict.transport.carries:
        assert verdict.verified == "Unknown" or verdict.reason == "AnswersDiffer", "unknown is no failure"
    if verdict.verified == "False":
        assert verdict.reason in PROOF
    if verdict.verified == "True":
        assert verdict.bytes > 0
        assert not promise.transports or verdict.transport in promise.transports


@given(texts | st.text(max_size=200) | st.lists(texts, max_size=4).map("\n".join))
def test_any_log_is_read(text: str) -> None:
    found = findings(text)
    assert found.named.carries or found.named is Transport.UNKNOWN


@given(
    end=st.sampled_from(["prefill_does", "decode_does"]),
    amount=st.integers(0, 2**50),
    back=st.integers(0, 2**50),
    over=st.lists(st.sampled_from([*RAILS, "eth0"]), min_size=1, unique=True),
    canary=st.sampled_from([None, Canary(512, float(EXPECTED)), Canary(512)]),
)
def test_traffic_of_one_end_alone_never_verifies(
    end: str, amount: int, back: int, over: list[str], canary: Canary | None
) -> None:
    def change(pod: Any) -> None:
        sends(amount, *over)(pod)
        receives(back, *over)(pod)

    options: dict[str, Any] = {end: change}
    seen = window(efa_pod(), efa_pod(), **options)
    assert stuck(judge({}, seen, canary, {}))


@given(st.dictionaries(st.sampled_from(RAILS), st.integers(0, 999), min_size=1), st.booleans())
def test_counters_that_go_backwards_never_verify_by_themselves(fallen: dict[str, int], early: bool) -> None:
    """They may even rise a lot afterwards: what they show is not taken."""

    def fall(pod: Any) -> None:
        for name, value in fallen.items():
            pod.devices[name]["counters"] = {"tx_bytes": value, "rx_bytes": value}

    def rise(pod: Any) -> None:
        sends(9 * EXPECTED, *fallen)(pod)
        receives(9 * EXPECTED, *fallen)(pod)

    def fall_late(pod: Any) -> None:
        rise(pod)
        fall(pod)

    if early:
        seen = window(efa_pod(), efa_pod(), background={"p-0": fall, "d-0": fall})
        risen = window(efa_pod(), efa_pod(), prefill_does=rise, decode_does=rise)
        seen = replace(seen, after=risen.after)
    else:
        seen = window(efa_pod(), efa_pod(), prefill_does=fall_late, decode_does=fall_late)
    for canary in (None, Canary(512, float(EXPECTED)), Canary(512)):
        assert stuck(judge({}, seen, canary, {}))


@given(windows, canaries)
def test_less_evidence_never_turns_unknown_into_a_failure(seen: Window, canary: Canary | None) -> None:
    promise = Promise(frozenset({Transport.UCX_SRD}))
    before = judge({"prefill": promise, "decode": promise}, seen, canary, {})
    fewer = replace(seen, after={})
    after = judge({"prefill": promise}, fewer, canary, {})
    assert after.verified == "Unknown"
    if not before.transport.carries and before.reason != "AnswersDiffer":
        assert before.verified == "Unknown"
