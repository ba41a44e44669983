"""The same resources by processes of their own, the webhook over HTTPS and the command line, say the same."""

import json
from pathlib import Path
from typing import Any

import pytest

from generated.conftest import Run
from generated.judges import by_lint, by_webhook
from generated.processes import lint, renders, webhook_process
from generated.resources import Made, make

pytestmark = pytest.mark.timeout(0)

LINTED_AT_ONCE = 40
"""Resources of one lint process."""
RENDERED_OF = 8
"""Of so many linted resources one is rendered: each is a process."""


@pytest.fixture
def sample(run: Run) -> list[Made]:
    """A part of the run."""
    return [make(run.seed, number) for number in run.sample(10, 40)]


def test_the_webhook_process_says_what_its_handler_says(sample: list[Made], tmp_path: Path) -> None:
    memory = []
    with webhook_process(tmp_path) as webhook:
        for made in sample:
            if not isinstance(made.resource, dict):
                continue
            expected = by_webhook(made.resource)
            assert webhook.judge(made.resource) == expected, made.told
            memory.append(webhook.resident())
    print(f"\nwebhook process: {len(memory)} reviews, RSS in MiB {memory[:: max(len(memory) // 8, 1)]}")


def test_the_command_line_says_what_its_functions_say(sample: list[Made], tmp_path: Path) -> None:
    written = {}
    for made in sample:
        if _read_from_files(made.resource):
            file = tmp_path / f"{made.number}.yaml"
            file.write_text(json.dumps(made.resource), encoding="utf-8")
            written[file] = made
    names = list(written)
    for first in range(0, len(names), LINTED_AT_ONCE):
        for name, fields in lint(names[first : first + LINTED_AT_ONCE]).items():
            made = written[Path(name)]
            assert bool(fields) != by_lint(made.resource).accepted, (made.told, fields)
    for file in names[::RENDERED_OF]:
        expected = by_lint(written[file].resource)
        rendered, complaint = renders(file)
        assert rendered == expected.accepted, (written[file].told, complaint)
        if not rendered:
            assert expected.faults[0].partition(":")[0] in complaint
    print(f"\ncommand line: {len(names)} linted, {len(names[::RENDERED_OF])} rendered")


def _read_from_files(resource: Any) -> bool:
    """Tell whether lint judges a document: others are passed over, or are no YAML."""
    return isinstance(resource, dict) and resource.get("kind") == "DisaggDeployment"
