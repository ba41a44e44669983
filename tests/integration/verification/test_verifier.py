"""The verifier against real HTTP servers that simulate agents and a frontend."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from disagg_operator.api.transport import Promise, Transport
from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.kinds import Key
from disagg_operator.runtime.verification import verifier as module
from disagg_operator.runtime.verification.agents import url
from integration.verification.simulated_workers import (
    BYTES,
    KEY,
    SRD,
    TOKENS,
    SimulatedCluster,
    nowhere,
    over_efa,
    over_tcp,
)
from integration.verification.watching import QUICK, SRD_LOG, Logs, watching
from unit.verify.simulated import Pod, efa_pod

_networks = itertools.count(10)


@asynccontextmanager
async def cluster(**options: Any) -> AsyncIterator[SimulatedCluster]:
    pods = {"prefill": efa_pod(), "decode": efa_pod()}
    network = f"127.77.{next(_networks)}"
    async with SimulatedCluster(network, **{**pods, **options}) as running:
        yield running


async def test_four_of_four_devices_verify_srd() -> None:
    async with cluster() as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.reason, result.label) == ("True", "AsPromised", "NIXL/UCX srd")
        assert (result.devices_used, result.devices_given, result.confidence) == (4, 4, "High")
        assert result.expected_bytes == BYTES
        assert result.bytes == pytest.approx(BYTES, rel=0.01)
        assert result.role_labels == {"prefill": "NIXL/UCX srd", "decode": "NIXL/UCX srd"}
        first, again = workers.requests
        assert first == again, "the same prompt twice"
        assert (first["temperature"], first["seed"], first["max_tokens"]) == (0, 0, 16)
        assert first["user"] == "disagg-canary"
        assert first["prompt"].split()[0] == workers.headers[0]["x-disagg-canary"]
        assert len(first["prompt"].split()) == 513
        assert {(namespace, container) for namespace, _, container, _ in watcher.logs.read} == {
            ("ns", "worker")
        }
        assert any("NixlTransferAgent" in line for line in result.evidence)
        assert [step.split()[0] for step in watcher.steps[:4]] == [
            "waiting",
            "reading",
            "watching",
            "sending",
        ]
        assert (
            watcher.sample("disagg_kv_transport_verifications_total", verified="True", reason="AsPromised")
            == 1
        )
        assert watcher.sample("disagg_kv_transport_canary_bytes_total", transport="UcxSrd") == result.bytes
        assert watcher.sample("disagg_kv_transport_canary_seconds_count") == 1
        assert watcher.verifier.want(KEY, workers.asks()).result == result, "the same round is not repeated"
        await asyncio.sleep(0.1)
        assert len(workers.requests) == 2


async def test_three_of_four_devices_are_verified_and_told() -> None:
    async with cluster(move=over_efa(3)) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.reason) == ("True", "FewerDevicesThanGpus")
        assert (result.devices_used, result.devices_given) == (3, 4)


async def test_tcp_instead_of_srd_fails_whatever_the_log_says() -> None:
    async with cluster(move=over_tcp) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.reason, result.label) == ("False", "WorseTransport", "NIXL/UCX tcp")
        assert "The log names UCX over srd" in result.message


async def test_libfabric_that_fell_back_to_tcp_is_told_from_efa() -> None:
    promise = Promise(frozenset({Transport.LIBFABRIC_EFA}), backend="LIBFABRIC", devices=4, gpus=4)
    pods = {"prefill": efa_pod(plugins=("LIBFABRIC",)), "decode": efa_pod(plugins=("LIBFABRIC",))}
    async with cluster(move=over_tcp, **pods) as workers, watching(logs=Logs("")) as watcher:
        result = await watcher.result(workers.asks(promise=promise))
        assert (result.verified, result.label) == ("False", "NIXL/LIBFABRIC tcp")


async def test_a_decode_that_never_read_is_unknown_and_tried_again() -> None:
    idle = {"kvRead": [], "kvServedBytes": 0}
    pods = {"prefill": Pod(engine=dict(idle)), "decode": Pod(engine=dict(idle))}
    async with cluster(move=nowhere, **pods) as workers, watching(logs=Logs("")) as watcher:
        result = await watcher.result(workers.asks(promise=Promise(frozenset({Transport.UCX_TCP}))))
        assert (result.verified, result.reason, result.label) == ("Unknown", "NothingMoved", "nothing moved")
        assert len(workers.requests) == 2 * module.PATIENT_TRIES
        assert any("trying again in" in step for step in watcher.steps)


async def test_pods_with_traffic_of_their_own_fool_nobody() -> None:
    timing = replace(QUICK, quiet=0.5)
    async with cluster(own_rate=1e9, seconds=0.3) as workers, watching(timing) as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.label) == ("True", "NIXL/UCX srd")
        assert result.bytes == pytest.approx(BYTES, rel=0.01)
    async with (
        cluster(own_rate=1e9, seconds=0.3, move=nowhere) as workers,
        watching(timing, first_retry=60.0) as watcher,
    ):
        step = await watcher.step(workers.asks(), "trying again")
        assert "NIXL/UCX" not in step


async def test_counters_that_go_backwards_prove_nothing() -> None:
    def reset(name: str, document: dict[str, Any]) -> dict[str, Any]:
        if name == "d-0" and workers.requests:
            for device in document["devices"]:
                device["counters"] = {"tx_bytes": 1, "rx_bytes": 1}
        return document

    async with cluster(on_evidence=reset) as workers, watching(first_retry=60.0) as watcher:
        step = await watcher.step(workers.asks(), "trying again")
        assert "rdmap40s0: tx_bytes went backwards" in step


async def test_devices_that_vanish_are_left_out() -> None:
    def vanish(_: str, document: dict[str, Any]) -> dict[str, Any]:
        if workers.requests:
            document["devices"] = document["devices"][:3]
        return document

    async with cluster(move=over_efa(3), on_evidence=vanish) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.devices_used) == ("True", 3)
        assert any("rdmap43s0 vanished" in line for line in result.evidence)


async def test_garbage_answers_fail() -> None:
    texts: Callable[[int], str] = lambda number: "fine words" if number == 1 else "\x00 8 8 8"  # noqa: E731
    async with cluster(text=texts) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.reason) == ("False", "AnswersDiffer")


async def test_a_frontend_that_refuses_is_unknown_with_its_words() -> None:
    async with cluster(status=503) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.reason) == ("Unknown", "CanaryFailed")
        assert "HTTP 503: no worker is ready" in result.message
        workers.status = 200
        async with asyncio.timeout(10):
            while result.verified != "True":
                watcher.changed.clear()
                result = watcher.verifier.want(KEY, workers.asks()).result or result
                if result.verified != "True":
                    await watcher.changed.wait()
        assert result.label == "NIXL/UCX srd", "tried again until it worked"


async def test_a_frontend_that_is_not_there_is_unknown() -> None:
    async with cluster() as workers, watching(first_retry=60.0) as watcher:
        step = await watcher.step(workers.asks(address="http://127.0.0.1:9"), "trying again")
        assert "The canary was not answered: Cannot connect" in step


async def test_a_frontend_that_hangs_is_unknown() -> None:
    timing = replace(QUICK, answer=0.2)
    async with cluster(seconds=1.0) as workers, watching(timing, first_retry=60.0) as watcher:
        assert "no answer within 0.2 s" in await watcher.step(workers.asks(), "trying again")


async def test_under_enforce_a_frontend_pod_is_asked_first() -> None:
    async with cluster() as workers, watching() as watcher:
        asked = workers.asks(mode="Enforce", address="http://127.0.0.1:9", frontends=(workers.address,))
        assert (await watcher.result(asked)).verified == "True"
    async with cluster() as workers, watching() as watcher:
        asked = workers.asks(address="http://127.0.0.1:9", frontends=(workers.address,))
        assert (await watcher.result(asked)).verified == "True", "the Service has no endpoint yet"


async def test_a_model_with_a_small_context_gets_a_shorter_prompt() -> None:
    async with cluster(longest=100) as workers, watching() as watcher:
        assert (await watcher.result(workers.asks())).verified == "True"
        assert [len(body["prompt"].split()) - 1 for body in workers.requests] == [512, 256, 128, 64, 64]


async def test_a_model_without_completions_is_asked_by_chat() -> None:
    async with cluster(completions=False) as workers, watching() as watcher:
        assert (await watcher.result(workers.asks())).verified == "True"
        assert all(body["messages"][0]["role"] == "user" for body in workers.requests)


async def test_without_canaries_no_request_is_sent() -> None:
    async with cluster() as workers, watching() as watcher:
        result = await watcher.result(workers.asks(canary=False))
        assert (result.verified, result.reason) == ("Unknown", "NoTraffic")
        assert workers.requests == []

        asking = asyncio.create_task(watcher.result(workers.asks(canary=False, request="now")))
        await watcher.step(workers.asks(canary=False, request="now"), "watching requests")
        await over_efa()(workers)
        result = await asking
        assert (result.verified, result.confidence) == ("True", "Low")
        assert workers.requests == []


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (web.Response(status=500), "HTTP 500"),
        (web.Response(text="<html>"), "not understood"),
        (web.json_response({"devices": [{"name": 3}]}), "devices.0.name"),
        (None, "does not answer within"),
    ],
)
async def test_an_agent_that_answers_nonsense_is_unknown(answer: web.Response | None, told: str) -> None:
    def tell(name: str, document: dict[str, Any]) -> Any:
        return answer if name == "d-0" else document

    timing = replace(QUICK, agent=0.3)
    async with cluster(on_evidence=tell) as workers, watching(timing, first_retry=60.0) as watcher:
        step = await watcher.step(workers.asks(), "trying again")
        assert "No transport agent of the decode workers answers (d-0: " in step
        assert told in step
        assert workers.requests == [], "no canary in vain"


async def test_a_pod_that_goes_away_in_the_middle_is_unknown_and_tried_again() -> None:
    gone = True

    def vanish(name: str, document: dict[str, Any]) -> Any:
        return web.Response(status=502) if gone and name == "d-0" and workers.requests else document

    async with cluster(on_evidence=vanish) as workers, watching(first_retry=0.5) as watcher:
        step = await watcher.step(workers.asks(), "trying again")
        assert "No transport agent of the decode workers" in step
        assert "HTTP 502" in step
        gone = False
        assert (await watcher.result(workers.asks())).verified == "True"


async def test_no_workers_are_unknown() -> None:
    async with cluster() as workers, watching(first_retry=60.0) as watcher:
        asked = workers.asks()
        step = await watcher.step(replace(asked, workers=asked.workers[:1]), "trying again")
        assert "no ready decode worker" in step


async def test_logs_that_may_not_be_read_cost_only_their_evidence() -> None:
    logs = Logs(error=ClusterError(403, "Forbidden", "pods/log is forbidden"))
    async with cluster() as workers, watching(logs=logs) as watcher:
        result = await watcher.result(workers.asks())
        assert (result.verified, result.label) == ("True", "NIXL/UCX srd")


async def test_long_logs_are_read_from_both_ends() -> None:
    logs = Logs(SRD_LOG + "x" * (1 << 20))
    async with cluster() as workers, watching(logs=logs) as watcher:
        await watcher.result(workers.asks())
        assert {lines for *_, lines in logs.read} == {None, 2000}


async def test_another_request_of_the_user_measures_again_at_once() -> None:
    async with cluster() as workers, watching(apart=3600.0) as watcher:
        await watcher.result(workers.asks())
        result = await watcher.result(workers.asks(request="2026-01-01T00:00:00Z"))
        assert result.verified == "True"
        assert len(workers.requests) == 4


async def test_canaries_of_one_deployment_are_apart() -> None:
    async with cluster() as workers, watching(apart=0.6) as watcher:
        clock = asyncio.get_running_loop().time
        await watcher.result(workers.asks())
        since = clock()
        await watcher.result(workers.asks(revision="rev2"))
        assert clock() - since >= 0.5


async def test_a_new_round_ends_the_old_one_and_forgetting_ends_both() -> None:
    async with cluster(seconds=1.0) as workers, watching() as watcher:
        await watcher.step(workers.asks(), "sending")
        result = await watcher.result(workers.asks(revision="rev2"))
        assert result.verified == "True"
        assert watcher.sample("disagg_kv_transport_canary_seconds_count") == 1, "the first was cut off"
        await watcher.step(workers.asks(revision="rev3"), "sending")
        watcher.verifier.forget(KEY)
        watcher.verifier.forget(Key("ns", "never-asked"))
        watcher.changed.clear()
        await asyncio.sleep(1.2)
        assert not watcher.changed.is_set()
        assert watcher.sample("disagg_kv_transport_canary_seconds_count") == 1


async def test_at_most_four_deployments_are_measured_at_once() -> None:
    # No answer comes before all who may ask have asked once.
    async with cluster(seconds=5) as workers, watching() as watcher:
        keys = [Key("ns", f"d{number}") for number in range(6)]
        for key in keys:
            watcher.verifier.want(key, workers.asks())
        async with asyncio.timeout(20):
            while len(workers.requests) < 4:  # noqa: ASYNC110 - the server has no event to wait for
                await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        assert len(workers.requests) == 4


async def test_a_bug_of_ours_is_told_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    async with cluster() as workers, watching() as watcher:
        with monkeypatch.context() as patch:
            patch.setattr("disagg_operator.runtime.verification.measurement.judge", broken)
            result = await watcher.result(workers.asks())
        assert (result.verified, result.reason) == ("Unknown", "MeasurementFailed")
        assert "ZeroDivisionError: oh" in result.message
        assert (await watcher.result(workers.asks(request="again"))).verified == "True"


async def test_a_burst_within_a_long_answer_is_not_spread_over_it() -> None:
    async def burst(workers: SimulatedCluster) -> None:
        await asyncio.sleep(0.5)
        await over_efa()(workers)
        await asyncio.sleep(0.5)

    async with cluster(move=burst) as workers, watching() as watcher:
        result = await watcher.result(workers.asks())
        assert result.verified == "True"
        assert result.gbps is not None
        assert result.gbps > 2 * BYTES / 1e9, "of a request that took a second"


async def test_a_slow_transfer_is_seen_while_it_runs() -> None:
    async with cluster(move=over_efa(seconds=0.6)) as workers, watching() as watcher:
        result = await watcher.result(workers.asks(promise=replace(SRD, minimum_gbps=5.0)))
        assert (result.verified, result.reason) == ("False", "TooSlow")
        assert result.gbps == pytest.approx(BYTES / 0.6 / 1e9, rel=0.4)


def test_expected_bytes_are_of_the_prompt_alone() -> None:
    assert BYTES == TOKENS * 327_680


def test_addresses_of_version_6_stand_in_brackets() -> None:
    assert url("fd00::1", 9095, "/evidence") == "http://[fd00::1]:9095/evidence"
    assert url("10.0.0.1", 9095, "/evidence") == "http://10.0.0.1:9095/evidence"
