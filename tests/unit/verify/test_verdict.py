"""The verdict for every transport and every contradiction, on simulated counters."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.verify.canary import Answer
from disagg_operator.verify.evidence import Evidence
from disagg_operator.verify.judge import judge
from disagg_operator.verify.logs import findings
from disagg_operator.verify.paths import Window
from disagg_operator.verify.rate import Sample
from unit.verify.simulated import (
    CANARY,
    EFA,
    EXPECTED,
    RAILS,
    TOKENS,
    Change,
    Pod,
    both,
    device,
    efa_pod,
    judged,
    nothing,
    receives,
    sends,
    window,
)

TCP = Promise(frozenset({Transport.UCX_TCP}))
ANY = Promise()
HTTP = both(sends(30_000, "eth0"), receives(30_000, "eth0"))
SRD_LOG = (
    "ucp_context_2 self cfg#1 rma_am(srd/rdmap40s0:1) am(srd/rdmap40s0:1 srd/rdmap62s0:1)\n"
    "NixlTransferAgent using NIXL backend: UCX\n"
)


UNCOUNTED = {"kind": "mlx5", "given": True, "counters": {"link_downed": 0}}


def over_efa(used: int = 4, size: int = EXPECTED, **options: Any) -> Window:
    return window(
        efa_pod(**options),
        efa_pod(**options),
        prefill_does=both(HTTP, sends(size, *RAILS[:used])),
        decode_does=both(HTTP, receives(size, *RAILS[:used])),
    )


def over_tcp(make: Callable[..., Pod] = Pod, size: int = EXPECTED, **options: Any) -> Window:
    return window(
        make(**options),
        make(**options),
        prefill_does=sends(size + 200_000, "eth0"),
        decode_does=receives(size + 200_000, "eth0"),
    )


def mlx5() -> Pod:
    return Pod({"mlx5_0": device("mlx5")})


def linked() -> Pod:
    return Pod(links=[{"gpu": 0, "link": 0, "rxBytes": 10, "txBytes": 10}])


def moves_link(key: str, size: int = EXPECTED) -> Change:
    def change(pod: Pod) -> None:
        pod.links[0][key] += size

    return change


def reads(lanes: str, size: int = EXPECTED) -> Change:
    def change(pod: Pod) -> None:
        assert pod.engine is not None
        before = sum(read["bytes"] for read in pod.engine["kvRead"] if read["transport"] == lanes)
        pod.engine["kvRead"] = [{"backend": "UCX", "transport": lanes, "bytes": before + size}]

    return change


def serves(size: int = EXPECTED) -> Change:
    def change(pod: Pod) -> None:
        assert pod.engine is not None
        pod.engine["kvServedBytes"] += size

    return change


def accounted(lanes: str, prefill: Change = nothing, decode: Change = nothing) -> Window:
    """The reference engine's own account, with what the network shows."""
    return window(
        Pod(engine={"kvRead": [], "kvServedBytes": 0}),
        Pod(engine={"kvRead": [], "kvServedBytes": 0}),
        prefill_does=both(serves(), prefill),
        decode_does=both(reads(lanes), decode),
    )


def test_four_of_four_efa_devices_prove_srd() -> None:
    verdict = judged(over_efa(), log=SRD_LOG)
    assert (verdict.transport, verdict.label, verdict.verified) == (Transport.UCX_SRD, "NIXL/UCX srd", "True")
    assert (verdict.reason, verdict.confidence) == ("AsPromised", "High")
    assert (verdict.devices_used, verdict.devices_given) == (4, 4)
    assert verdict.bytes == pytest.approx(EXPECTED, rel=0.01)
    assert verdict.rate == pytest.approx(EXPECTED / 0.5, rel=0.01)
    assert verdict.roles["prefill"].label == verdict.roles["decode"].label == "NIXL/UCX srd"
    assert len(verdict.evidence) <= 6
    assert "log: UCX names 2 srd devices, for 4 GPUs a pod" in verdict.evidence


def test_three_of_four_efa_devices_are_verified_and_told() -> None:
    verdict = judged(over_efa(used=3))
    assert (verdict.verified, verdict.reason) == ("True", "FewerDevicesThanGpus")
    assert (verdict.devices_used, verdict.devices_given) == (3, 4)
    assert "over 3 of 4 devices" in verdict.message


def test_each_role_is_held_against_the_devices_of_its_own_pods() -> None:
    seen = window(
        efa_pod(2),
        efa_pod(4),
        prefill_does=sends(EXPECTED, *RAILS[:2]),
        decode_does=receives(EXPECTED, *RAILS),
    )
    logs = {"d-0": findings(SRD_LOG)}
    fitting = {"prefill": replace(EFA, devices=2, gpus=2), "decode": EFA}
    assert judge(fitting, seen, CANARY, logs).reason == "AsPromised"
    verdict = judge({"prefill": EFA, "decode": EFA}, seen, CANARY, logs)
    assert (verdict.reason, verdict.devices_used) == ("FewerDevicesThanGpus", 2)
    assert "each prefill pod" in verdict.message


@pytest.mark.parametrize(
    ("counters_sent", "counters_received"),
    [
        ("rdma_read_resp_bytes", "rdma_read_bytes"),
        ("rdma_write_bytes", "rdma_write_recv_bytes"),
        ("send_bytes", "recv_bytes"),
    ],
)
def test_efa_bytes_count_once_whichever_counters_hold_them(
    counters_sent: str, counters_received: str
) -> None:
    def pod() -> Pod:
        counters: dict[str, Any] = {counters_sent: 5, counters_received: 5}
        return Pod({name: device(**counters) for name in RAILS})

    seen = window(
        pod(),
        pod(),
        prefill_does=both(sends(EXPECTED, *RAILS), sends(EXPECTED, *RAILS, counter=counters_sent)),
        decode_does=both(receives(EXPECTED, *RAILS), sends(EXPECTED, *RAILS, counter=counters_received)),
    )
    assert judged(seen).bytes == EXPECTED
    alone = window(
        pod(),
        pod(),
        prefill_does=sends(EXPECTED, *RAILS, counter=counters_sent),
        decode_does=sends(EXPECTED, *RAILS, counter=counters_received),
    )
    assert judged(alone).bytes == EXPECTED


@pytest.mark.parametrize(
    ("seen", "transport"),
    [
        (over_efa(plugins=("LIBFABRIC",)), Transport.LIBFABRIC_EFA),
        (over_tcp(plugins=("LIBFABRIC",)), Transport.LIBFABRIC_TCP),
        (over_tcp(), Transport.UCX_TCP),
        (
            window(
                mlx5(),
                mlx5(),
                prefill_does=sends(EXPECTED, "mlx5_0"),
                decode_does=receives(EXPECTED, "mlx5_0"),
            ),
            Transport.UCX_RDMA,
        ),
        (
            window(linked(), linked(), prefill_does=moves_link("txBytes"), decode_does=moves_link("rxBytes")),
            Transport.NVLINK,
        ),
        (accounted("cma/memory"), Transport.SHARED_MEMORY),
        (accounted("cuda_ipc/cuda"), Transport.NVLINK),
        (
            accounted("tcp/eth0", sends(EXPECTED, "eth0"), receives(EXPECTED, "eth0")),
            Transport.UCX_TCP,
        ),
    ],
)
def test_every_transport_is_told_apart(seen: Window, transport: Transport) -> None:
    verdict = judged(seen, ANY)
    assert (verdict.transport, verdict.verified) == (transport, "True")
    other = {Transport.UCX_SRD} if transport is not Transport.UCX_SRD else {Transport.NVLINK}
    refused = judged(seen, Promise(frozenset(other)))
    assert (refused.verified, refused.reason) == ("False", "WorseTransport")
    assert transport.spoken in refused.message


def test_the_reference_engine_over_tcp_is_said_with_its_exact_bytes() -> None:
    seen = accounted("tcp/eth0", sends(EXPECTED + 900_000, "eth0"), receives(EXPECTED + 900_000, "eth0"))
    verdict = judged(seen, TCP)
    assert "UCX over tcp" in verdict.message
    assert verdict.bytes == EXPECTED
    assert verdict.confidence == "High"


def test_tcp_instead_of_srd_fails_with_a_remedy() -> None:
    verdict = judged(over_tcp(efa_pod))
    assert (verdict.verified, verdict.reason) == ("False", "WorseTransport")
    assert "UCX over tcp, but the platform promises UCX over srd" in verdict.message
    assert "ucx_info -d" in verdict.message
    assert (verdict.devices_used, verdict.devices_given) == (0, 4)


def test_a_variable_that_excludes_the_fabric_is_the_cause() -> None:
    promise = Promise(frozenset({Transport.UCX_SRD}), excluded_by="spec.env sets UCX_TLS=tcp")
    verdict = judged(over_tcp(), promise)
    assert verdict.message == (
        "KV cache moves as UCX over tcp, but the platform promises UCX over srd: spec.env sets UCX_TLS=tcp, "
        "which excludes that. Leave the variable out."
    )


def test_nodes_without_rdma_devices_and_pods_that_were_given_none_are_named() -> None:
    promise = Promise(frozenset({Transport.UCX_RDMA}))
    assert "the nodes of d-0, p-0 have no RDMA device. Run" in judged(over_tcp(), promise).message
    hidden = judged(over_tcp(lambda: Pod({"mlx5_0": device("mlx5", given=False)})), promise)
    assert "d-0, p-0 were given none of their node's RDMA devices" in hidden.message
    given = judged(over_tcp(mlx5), promise)
    assert "UCX did not take the RDMA devices: check" in given.message


def test_libfabric_over_tcp_is_not_taken_for_efa() -> None:
    promise = Promise(frozenset({Transport.LIBFABRIC_EFA}), backend="LIBFABRIC", devices=4, gpus=4)
    verdict = judged(
        over_tcp(efa_pod, plugins=("LIBFABRIC",)), promise, log="Created 1 rails using provider=tcp"
    )
    assert (verdict.transport, verdict.verified) == (Transport.LIBFABRIC_TCP, "False")
    assert "fi_info -p efa" in verdict.message


def test_counters_win_over_a_log_that_names_srd() -> None:
    verdict = judged(over_tcp(efa_pod), log=SRD_LOG)
    assert (verdict.transport, verdict.verified) == (Transport.UCX_TCP, "False")
    assert verdict.contradictions == (
        "The log names UCX over srd, but network interfaces moved the bytes: they decide.",
    )
    assert verdict.contradictions[0] in verdict.message


def test_an_endpoint_that_lists_what_moved_the_bytes_contradicts_nothing() -> None:
    # Two H100s of one host, NIXL 1.5.1 with UCX 1.23; `make bench-gpu-transport`.
    log = (
        "ucp_worker.c:1997 UCX  INFO    gpu-1-698888fb intra-node cfg#2 rma_am(tcp/eth0)  amo_am(tcp/eth0)  "
        "device(cuda_ipc/cuda)  am(tcp/eth0 cma/memory cuda_ipc/cuda)  ka(tcp/eth0)"
    )
    seen = window(linked(), linked(), prefill_does=moves_link("txBytes"), decode_does=moves_link("rxBytes"))
    verdict = judged(seen, Promise(frozenset({Transport.NVLINK}), gpus=1), log=log)
    assert (verdict.transport, verdict.verified) == (Transport.NVLINK, "True")
    assert verdict.contradictions == ()


def test_counters_win_over_the_engine_too() -> None:
    seen = accounted("cma/memory", sends(EXPECTED, "eth0"), receives(EXPECTED, "eth0"))
    verdict = judged(seen, ANY)
    assert verdict.transport is Transport.UCX_TCP
    assert "The engine names UCX over shared memory" in verdict.message


def test_an_engine_that_names_tcp_where_no_interface_moved_is_not_believed() -> None:
    verdict = judged(accounted("tcp/eth0"), TCP)
    assert (verdict.verified, verdict.reason) == ("Unknown", "CountersContradictEngine")


def test_tcp_within_a_pods_network_is_taken_from_the_engine() -> None:
    verdict = judged(accounted("tcp/lo"), TCP)
    assert (verdict.transport, verdict.verified, verdict.confidence) == (Transport.UCX_TCP, "True", "Medium")


def test_a_decode_that_never_read_is_unknown() -> None:
    idle = {"kvRead": [], "kvServedBytes": 0}
    seen = window(Pod(engine=dict(idle)), Pod(engine=dict(idle)), prefill_does=HTTP, decode_does=HTTP)
    verdict = judged(seen, TCP)
    assert (verdict.transport, verdict.verified) == (Transport.NOTHING_MOVED, "Unknown")
    assert verdict.reason == "NothingMoved"
    assert "decode computed the prompt itself" in verdict.message
    shared = judge({"prefill": TCP}, seen, replace(CANARY, shared=True), {})
    assert (shared.verified, shared.reason) == ("Unknown", "NothingMoved")
    assert shared.message == (
        "The canary was answered, but no KV cache of this revision moved: two revisions answer, and it may "
        "have reached the other. It is tried again."
    )


def test_a_burst_of_others_before_the_canary_is_not_taken_for_a_decode_that_never_read() -> None:
    """Two seconds are watched, in which a chat moved as much as the canary does in its eight seconds."""
    idle = {"kvRead": [], "kvServedBytes": 0}
    burst = {
        "p-0": both(serves(), sends(EXPECTED, "eth0")),
        "d-0": both(reads("tcp/eth0"), receives(EXPECTED, "eth0")),
    }
    seen = window(Pod(engine=dict(idle)), Pod(engine=dict(idle)), background=burst)
    verdict = judged(replace(seen, seconds=8.0), TCP)
    assert (verdict.verified, verdict.reason) == ("Unknown", "OthersMoved")
    assert "It is tried again" in verdict.message


def test_an_engine_that_moved_nothing_is_told_whatever_others_send() -> None:
    idle = {"kvRead": [], "kvServedBytes": 0}
    own = both(sends(3 * EXPECTED, "eth0"), receives(3 * EXPECTED, "eth0"))
    seen = window(Pod(engine=dict(idle)), Pod(engine=dict(idle)), background={"p-0": own, "d-0": own})
    assert judged(seen, TCP).reason == "NothingMoved"


def test_without_a_canary_nothing_moved_is_no_failure() -> None:
    verdict = judged(window(efa_pod(), efa_pod()), canary=None)
    assert (verdict.verified, verdict.reason) == ("Unknown", "NoTraffic")


def test_without_a_canary_traffic_of_users_tells_the_transport() -> None:
    verdict = judged(over_efa(), canary=None)
    assert (verdict.transport, verdict.verified) == (Transport.UCX_SRD, "True")
    assert (verdict.confidence, verdict.expected_bytes) == ("Low", None)


@pytest.mark.parametrize("end", ["prefill_does", "decode_does"])
def test_traffic_of_one_end_alone_proves_nothing(end: str) -> None:
    change = both(sends(50 * EXPECTED, *RAILS, "eth0"), receives(50 * EXPECTED, *RAILS, "eth0"))
    changes: dict[str, Any] = {end: change}
    verdict = judged(window(efa_pod(), efa_pod(), **changes))
    assert (verdict.verified, verdict.reason) == ("Unknown", "EndsDisagree")


def test_steady_traffic_of_the_pods_own_is_taken_off() -> None:
    own = both(sends(3 * EXPECTED, "eth0"), receives(3 * EXPECTED, "eth0"))
    quiet = window(efa_pod(), efa_pod(), background={"p-0": own, "d-0": own})
    assert judged(quiet).verified == "Unknown"
    busy = window(
        efa_pod(),
        efa_pod(),
        prefill_does=sends(EXPECTED, *RAILS),
        decode_does=receives(EXPECTED, *RAILS),
        background={"p-0": own, "d-0": own},
    )
    assert (judged(busy).transport, judged(busy).bytes) == (Transport.UCX_SRD, EXPECTED)


def test_traffic_within_a_role_is_told_from_kv_cache() -> None:
    """Tensor-parallel traffic over EFA in both roles does not hide that KV cache took TCP."""
    within = both(sends(9 * EXPECTED, *RAILS), receives(9 * EXPECTED, *RAILS))
    seen = window(
        efa_pod(),
        efa_pod(),
        prefill_does=both(within, sends(EXPECTED, "eth0")),
        decode_does=both(within, receives(EXPECTED, "eth0")),
    )
    assert judged(seen).transport is Transport.UCX_TCP


def test_two_networks_that_both_fit_are_decided_by_the_log_or_not_at_all() -> None:
    seen = window(
        efa_pod(),
        efa_pod(),
        prefill_does=both(sends(EXPECTED, *RAILS), sends(EXPECTED, "eth0")),
        decode_does=both(receives(EXPECTED, *RAILS), receives(EXPECTED, "eth0")),
    )
    assert (judged(seen).verified, judged(seen).reason) == ("Unknown", "Ambiguous")
    assert judged(seen, log=SRD_LOG).transport is Transport.UCX_SRD


def test_devices_of_other_pods_do_not_count() -> None:
    def pod() -> Pod:
        return Pod({name: device(given=False) for name in RAILS})

    seen = window(
        pod(),
        pod(),
        prefill_does=sends(EXPECTED, *RAILS),
        decode_does=receives(EXPECTED, *RAILS),
    )
    assert judged(seen).verified == "Unknown"


def test_a_device_that_went_backwards_is_left_out_and_told() -> None:
    def reset(pod: Pod) -> None:
        pod.devices["rdmap40s0"]["counters"]["rx_bytes"] = 0

    seen = window(
        efa_pod(),
        efa_pod(),
        prefill_does=sends(EXPECTED, *RAILS),
        decode_does=both(receives(EXPECTED, *RAILS), reset),
    )
    verdict = judged(seen)
    assert (verdict.verified, verdict.reason) == ("Unknown", "EvidenceIncomplete")
    assert "d-0: rdmap40s0: rx_bytes went backwards" in verdict.message


def test_devices_that_vanish_leave_what_the_others_show() -> None:
    def vanish(pod: Pod) -> None:
        del pod.devices["rdmap43s0"]

    seen = window(
        efa_pod(),
        efa_pod(),
        prefill_does=both(sends(EXPECTED, *RAILS[:3]), vanish),
        decode_does=both(receives(EXPECTED, *RAILS[:3]), vanish),
    )
    verdict = judged(seen)
    assert (verdict.verified, verdict.reason) == ("True", "FewerDevicesThanGpus")
    assert any("rdmap43s0 vanished" in line for line in verdict.evidence)


def test_a_pod_that_went_away_leaves_nothing_to_judge() -> None:
    seen = over_efa()
    verdict = judged(replace(seen, after={"p-0": seen.after["p-0"]}))
    assert (verdict.verified, verdict.reason) == ("Unknown", "AgentsUnreachable")
    assert "d-0" in verdict.message


def test_no_counters_at_all_are_unknown() -> None:
    bare = {"p-0": Evidence(), "d-0": Evidence()}
    seen = Window({"p-0": "prefill", "d-0": "decode"}, bare, bare, bare, 2.0, 2.0)
    assert judged(seen).reason == "NoCounters"


def test_fewer_bytes_than_the_prompt_takes_are_unknown() -> None:
    assert judged(over_efa(size=EXPECTED // 2)).reason == "TooFewBytes"


@pytest.mark.parametrize(
    ("lane", "transport", "make"),
    [
        ("cuda_ipc/cuda", Transport.NVLINK, Pod),
        ("rc_mlx5/mlx5_0:1", Transport.UCX_RDMA, lambda **more: Pod({"mlx5_0": UNCOUNTED}, **more)),
    ],
)
def test_what_nothing_counts_is_proven_by_elimination(
    lane: str, transport: Transport, make: Callable[..., Pod]
) -> None:
    log = (
        "| ucp_context_0 inter-node cfg#2 |\n| remote memory write by ucp_put*(multi) from cuda/GPU0 |\n"
        f"| 0..inf | zero-copy | {lane} |\n"
    )
    done: Change = lambda pod: pod.nixl.update(txBytes=EXPECTED)  # noqa: E731 - one expression
    counted = {"rxBytes": 0, "txBytes": 0}
    promise = Promise(frozenset({transport}), gpus=4)
    seen = window(make(nixl=dict(counted)), make(nixl=dict(counted)), prefill_does=done)
    verdict = judged(seen, promise, log=log)
    assert (verdict.transport, verdict.verified, verdict.confidence) == (transport, "True", "Low")
    without = judged(window(make(), make()), promise, log=log)
    assert (without.verified, without.reason) == ("Unknown", "NotMeasured")
    assert f"The log names {transport.spoken}" in without.message


def test_a_device_that_counts_and_is_idle_is_not_believed_by_elimination() -> None:
    log = "| a inter-node cfg#2 |\n| remote memory read by ucp_get |\n| 0..inf | zero | srd/rdmap40s0:1 |\n"
    done: Change = lambda pod: pod.nixl.update(rxBytes=EXPECTED)  # noqa: E731 - one expression
    counted = {"rxBytes": 0, "txBytes": 0}
    seen = window(efa_pod(nixl=dict(counted)), efa_pod(nixl=dict(counted)), decode_does=done)
    verdict = judged(seen, log=log)
    assert (verdict.verified, verdict.reason) == ("Unknown", "CountersContradictEngine")


def test_answers_that_part_at_once_fail_and_late_ones_do_not() -> None:
    garbage = replace(CANARY, again=Answer("zzzz 8 8 8 8"))
    verdict = judged(over_efa(), canary=garbage)
    assert (verdict.verified, verdict.reason) == ("False", "AnswersDiffer")
    late = replace(CANARY, again=Answer("the quick brown dog"))
    verdict = judged(over_efa(), canary=late)
    assert (verdict.verified, verdict.confidence) == ("True", "Medium")
    assert any("part after a while" in line for line in verdict.evidence)
    empty = replace(CANARY, again=Answer(""))
    assert judged(over_efa(), canary=empty).reason == "AnswersDiffer"


@pytest.mark.parametrize("which", ["first", "again"])
def test_a_canary_that_was_refused_is_unknown(which: str) -> None:
    answers: dict[str, Any] = {which: Answer(error="HTTP 503: no worker is ready")}
    refused = replace(CANARY, **answers)
    verdict = judged(over_efa(), canary=refused)
    assert (verdict.verified, verdict.reason) == ("Unknown", "CanaryFailed")
    assert "HTTP 503: no worker is ready" in verdict.message


def sampled(*arrived: float) -> tuple[Sample, ...]:
    """Samples every 0.1 s, read within 0.02 s each, of the given parts of the bytes over EFA."""
    return tuple(
        Sample(
            0.1 * number,
            0.1 * number + 0.02,
            (Pod({"rdmap40s0": device(rx_bytes=1000 + int(part * EXPECTED))}).evidence(),),
        )
        for number, part in enumerate(arrived)
    )


def test_a_rate_below_the_minimum_fails_only_where_it_is_sure() -> None:
    fast = replace(EFA, minimum_gbps=1.0)
    slow = replace(CANARY, seconds=0.9, samples=sampled(0, 0, 0.2, 0.4, 0.6, 0.8, 1, 1))
    verdict = judged(over_efa(), fast, slow)
    assert (verdict.verified, verdict.reason) == ("False", "TooSlow")
    assert "299.6 MB/s at most" in verdict.message
    assert verdict.rate == pytest.approx(EXPECTED / 0.52, rel=0.01)
    unsure = judged(over_efa(), fast, replace(slow, samples=sampled(0, 0, 1, 1)))
    assert (unsure.verified, unsure.reason) == ("Unknown", "RateNotTold")
    wanted = re.search(r"promptTokens to (\d+) or more", unsure.message)
    assert wanted
    assert TOKENS / (EXPECTED / 0.12 / 1e9) < int(wanted[1]) < 1.1 * TOKENS / (EXPECTED / 0.12 / 1e9)
    unmeasured = judged(over_efa(), fast)
    assert unmeasured.reason == "RateNotTold"
    assert unsure.rate == pytest.approx(EXPECTED / 0.12, rel=0.01)
    enough = judged(over_efa(), replace(EFA, minimum_gbps=0.1), slow)
    assert (enough.reason, "promptTokens" in enough.message) == ("AsPromised", False)


@pytest.mark.parametrize("samples", [(), sampled(0), sampled(0, 0), sampled(0.5, 0, 1), sampled(1, 0)])
def test_samples_that_show_no_transfer_leave_the_time_of_the_request(samples: tuple[Sample, ...]) -> None:
    verdict = judged(over_efa(), canary=replace(CANARY, samples=samples))
    assert verdict.rate == pytest.approx(EXPECTED / CANARY.seconds, rel=0.01)


def test_unknown_geometry_lowers_confidence() -> None:
    verdict = judged(over_efa(), canary=replace(CANARY, expected_bytes=None))
    assert (verdict.verified, verdict.confidence) == ("True", "Medium")
    small = judged(over_efa(size=TOKENS * 1000), canary=replace(CANARY, expected_bytes=None))
    assert small.verified == "Unknown"


def test_a_plugin_that_was_not_seen_lowers_confidence() -> None:
    assert judged(over_efa(plugins=())).confidence == "Medium"
    assert judged(over_efa(plugins=()), log=SRD_LOG).confidence == "High"
    assert judged(over_efa(plugins=("UCX", "LIBFABRIC")), log=SRD_LOG).confidence == "High"


def test_a_method_without_nixl_is_called_by_its_own_name() -> None:
    promise = Promise(frozenset({Transport.UCX_SRD}), method="UCX", backend="")
    assert judged(over_efa(plugins=()), promise).label == "UCX srd"


def test_what_the_log_calls_wrong_is_part_of_the_message() -> None:
    log = "[WARNING] Unsupported NIXL backend: libfabric, fallback to UCX"
    verdict = judged(over_tcp(efa_pod), log=log)
    assert "TensorRT-LLM does not know NIXL backend libfabric" in verdict.message


def test_several_pods_of_a_role_are_added_up() -> None:
    pods = {"p-0": efa_pod(), "p-1": efa_pod(), "d-0": efa_pod(), "d-1": efa_pod()}
    roles = {name: "prefill" if name.startswith("p") else "decode" for name in pods}
    first = {name: pod.evidence() for name, pod in pods.items()}
    for name, change in (
        ("p-1", sends(EXPECTED, *RAILS)),
        ("d-0", receives(EXPECTED // 2, *RAILS)),
        ("d-1", receives(EXPECTED // 2, *RAILS)),
    ):
        change(pods[name])
    after = {name: pod.evidence() for name, pod in pods.items()}
    verdict = judge({"decode": EFA}, Window(roles, first, first, after, 2.0, 2.0), CANARY, {})
    assert (verdict.verified, verdict.bytes, verdict.devices_used) == ("True", EXPECTED, 4)
