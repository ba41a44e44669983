"""Each flag that Dynamo's frontend and its TensorRT-LLM workers get is one that their release knows."""

import re

import pytest

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
