"""Whether operators wrote in turn, by lines such as an API server's audit log has."""

from typing import Any

from integration.faults.turns import Turn, out_of_turn, turns, writes

A, B = "operator-a", "operator-b"


def line(
    user: str, resource: str, began: int, ended: int, *, verb: str = "patch", code: int = 200
) -> dict[str, Any]:
    """Return a line of the log; times are in seconds."""
    return {
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user},
        "objectRef": {"resource": resource, "name": "demo"},
        "responseStatus": {"code": code},
        "requestReceivedTimestamp": f"2026-01-01T00:00:{began:02}.000000Z",
        "stageTimestamp": f"2026-01-01T00:00:{ended:02}.500000Z",
    }


TAKEN = [
    line(A, "leases", 1, 1, verb="create", code=201),
    line(A, "statefulsets", 3, 4),
    line(A, "leases", 5, 5, verb="update"),
    line(B, "leases", 6, 6, verb="update", code=409),
    line(A, "events", 7, 8, verb="create", code=201),
    line(B, "leases", 20, 20, verb="update"),
    line(B, "statefulsets", 21, 22),
]


def wrong(*more: dict[str, Any]) -> list[str]:
    found = out_of_turn(writes([*TAKEN, *more], (A, B)))
    return [text.partition(" demo")[0] for text in found]


def test_a_turn_lasts_until_another_has_taken_the_lease() -> None:
    first, second = turns(writes(TAKEN, (A, B)))
    assert [each.user for each in (first, second)] == [A, B]
    assert first.ended == second.began
    assert isinstance(second, Turn)


def test_writes_in_turn_are_right() -> None:
    assert not wrong()


def test_a_write_after_another_took_the_lease_is_out_of_turn() -> None:
    assert wrong(line(A, "pods", 23, 23, verb="delete")) == [f"{A}: delete pods"]


def test_a_write_still_under_way_when_another_took_the_lease_is_out_of_turn() -> None:
    assert wrong(line(A, "services", 19, 21)) == [f"{A}: patch services"]


def test_a_write_before_the_lease_was_taken_is_out_of_turn() -> None:
    assert wrong(line(B, "events", 10, 10, verb="create")) == [f"{B}: create events"]


def test_a_write_that_was_refused_is_a_write() -> None:
    assert wrong(line(A, "configmaps", 24, 24, code=409)) == [f"{A}: patch configmaps"]


def test_reads_and_other_users_have_no_turn() -> None:
    assert not wrong(line(A, "pods", 23, 23, verb="watch"), line("admin", "pods", 24, 24))
