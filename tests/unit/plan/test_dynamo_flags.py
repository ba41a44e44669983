"""Each flag, variable and metric of Dynamo that we use is one that its release knows."""

import re

import pytest
from packaging.version import Version

from disagg_operator.cli.convert import flagvariables
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.flags import argument_table
from disagg_operator.platforms.profile import RuntimeProfile

RELEASES = builtin().runtimes["dynamo"]
FLAG = re.compile(r"--([a-z][\w-]*)")


def flags(*words: str) -> set[str]:
    return {name for word in words for name in FLAG.findall(word)}


def of_workers(profile: RuntimeProfile) -> set[str]:
    engine = profile.engines["trtllm"]
    further = [each.arguments for each in (engine.kvbm, engine.kv_events) if each is not None]
    return flags(*engine.command, *(word for words in further for word in words))


@pytest.mark.parametrize("version", RELEASES)
def test_workers_get_flags_that_their_release_knows(version: str) -> None:
    table = argument_table("trtllm")
    written = of_workers(RELEASES[version])
    assert table.knows(version)
    assert len(written) > 3
    assert written <= table.of(version)
    assert not written & table.deprecated_in(version)


@pytest.mark.parametrize("version", RELEASES)
def test_frontends_get_flags_that_their_release_knows(version: str) -> None:
    table = argument_table("frontend")
    written = flags(*RELEASES[version].frontend.command)
    assert table.knows(version)
    assert len(written) > 1
    assert written <= table.of(version)
    assert not written & table.deprecated_in(version)


@pytest.mark.parametrize(
    ("version", "name", "known", "old"),
    [
        ("0.6.1", "disaggregation-strategy", True, False),
        ("0.7.1", "disaggregation-strategy", False, False),
        ("0.8.1", "connector", False, False),
        ("0.9.1", "connector", True, False),
        ("1.6.1", "model-path", True, True),
        ("1.6.1", "publish-kv-events", True, False),
        ("1.6.1", "publish-events-and-metrics", True, True),
        ("1.2.1", "publish-events-and-metrics", True, False),
    ],
)
def test_flags_of_workers_come_and_go(version: str, name: str, known: bool, old: bool) -> None:
    table = argument_table("trtllm")
    assert (name in table.of(version)) == known
    assert (name in table.deprecated_in(version)) == old


def variables(profile: RuntimeProfile) -> set[str]:
    """Return the variables that are set for Dynamo; libraries, engines and our own code read others."""
    lists = [profile.environment, profile.worker.environment, profile.frontend.environment]
    lists += [engine.environment for engine in profile.engines.values()]
    names = {each.name for environment in lists for each in environment}
    others = {"POD_IP", "HOME"}
    return {name for name in names if name.startswith(("DYN_", "POD_", "ETCD_", "NATS_"))} - others


@pytest.mark.parametrize("version", RELEASES)
def test_releases_know_the_variables_that_they_are_given(version: str) -> None:
    table = argument_table("variables")
    given = variables(RELEASES[version])
    assert table.knows(version)
    assert {"DYN_SYSTEM_PORT", "ETCD_ENDPOINTS"} <= given
    assert given <= table.of(version)


@pytest.mark.parametrize("version", RELEASES)
def test_releases_have_the_metric_by_which_they_are_drained(version: str) -> None:
    profile, known = RELEASES[version], argument_table("variables").of(version)
    gauges = {part.drain.gauge for part in (profile.frontend, profile.worker) if part.drain is not None}
    assert gauges
    assert gauges <= known


@pytest.mark.parametrize("version", RELEASES)
def test_a_frontend_is_asked_about_a_model_from_the_release_on_that_can_tell(version: str) -> None:
    asked = RELEASES[version].frontend.readiness.path.endswith("/ready")
    assert asked == ("/{model_id}/ready" in argument_table("variables").of(version))


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("DYN_STORE_KV", ("0.7.1", "0.8.1", "0.9.1")),
        ("DYN_SYSTEM_PORT", tuple(reversed(list(RELEASES)))),
        ("DYN_WORKER_GRACEFUL_SHUTDOWN_TIMEOUT", ("1.2.1", "1.3.1", "1.4.2", "1.5.1", "1.6.1")),
        ("DYN_NAMESPACE_WORKER_SUFFIX", ("1.0.1", "1.1.1", "1.2.1", "1.3.1", "1.4.2", "1.5.1", "1.6.1")),
    ],
)
def test_variables_come_and_go(name: str, versions: tuple[str, ...]) -> None:
    assert argument_table("variables").versions_with(name) == versions


@pytest.mark.parametrize(
    ("name", "first"), sorted({*flagvariables.WORKER.values(), *flagvariables.FRONTEND.values()})
)
def test_a_flag_is_converted_to_a_variable_that_the_release_knows(name: str, first: Version) -> None:
    known = argument_table("variables").versions_with(name)
    assert {version for version in RELEASES if Version(version) >= first} <= set(known)
