"""Tickets: through JSON and back, and what is refused."""

import json
from dataclasses import replace
from typing import Any

import pytest

from disagg_worker.transfer import ShapeMismatch, Ticket, TransferError


def test_a_ticket_survives_json(bench: Any) -> None:
    ticket = bench.ticket()
    again = Ticket.parse(json.loads(json.dumps(ticket.to_json())))
    assert again == ticket
    assert again.parts[0].agent_metadata == b"prefill-0-one"


@pytest.mark.parametrize("document", [None, {}, [], {"version": 2}])
def test_what_is_no_ticket_is_told(document: Any) -> None:
    with pytest.raises(TransferError, match="cannot be read"):
        Ticket.parse(document)


def test_unknown_versions_and_fields_are_told(bench: Any) -> None:
    document = bench.ticket().to_json()
    changes: list[dict[str, Any]] = [{"version": 1}, {"colour": "red"}, {"blocks": []}, {"tokens": 0}]
    for changed in changes:
        with pytest.raises(TransferError, match=f"{next(iter(changed))}"):
            Ticket.parse(document | changed)


def test_the_layout_must_be_equal(bench: Any) -> None:
    ticket, layout = bench.ticket(), bench.pool.layout
    ticket.require_fit(layout, 10)
    with pytest.raises(ShapeMismatch, match="head_dim is 4 there and 8 here"):
        ticket.require_fit(replace(layout, head_dim=8), 10)
    with pytest.raises(ShapeMismatch, match="the prompt has 11"):
        ticket.require_fit(layout, 11)
    with pytest.raises(ShapeMismatch, match="offers 2 blocks"):
        bench.ticket(blocks=[1, 2]).require_fit(layout, 10)


def test_sums_are_of_all_layers(bench: Any) -> None:
    ticket, layout = bench.ticket(sums=[2**63 - 1, -(2**63)]), bench.pool.layout
    assert Ticket.parse(json.loads(json.dumps(ticket.to_json()))) == ticket
    ticket.require_fit(layout, 10)
    with pytest.raises(ShapeMismatch, match="tells sums of 1 layers; the model has 2"):
        bench.ticket(sums=[1]).require_fit(layout, 10)


def test_blocks_may_have_another_size(bench: Any) -> None:
    ticket, layout = bench.ticket(), bench.pool.layout
    ticket.require_fit(replace(layout, block_tokens=16), 10)
    bench.ticket(layout={**ticket.layout, "block_tokens": 8}, blocks=[7, 3]).require_fit(layout, 10)
    with pytest.raises(ShapeMismatch, match="offers 3 blocks of 8 tokens for 10 tokens; 2 are expected"):
        bench.ticket(layout={**ticket.layout, "block_tokens": 8}).require_fit(layout, 10)
    for size in (0, "4"):
        with pytest.raises(ShapeMismatch, match=f"block_tokens is {size} there and 4 here"):
            bench.ticket(layout={**ticket.layout, "block_tokens": size}).require_fit(layout, 10)
