"""What was measured so far: figures by name and side, remarks, and what failed. Pure."""

from dataclasses import dataclass, field

FLOOR, OURS, PEER, CHILDREN = "floor", "ours", "LWS", "all children"
SIDES = (FLOOR, CHILDREN, OURS, PEER)


@dataclass
class Figures:
    """The results of a run.

    Attributes:
        values: by name of the figure and by side.
        remarks: sentences about a figure of a side, by both names.
        failures: why a part could not be measured, by its name.
    """

    values: dict[str, dict[str, float]] = field(default_factory=dict)
    remarks: dict[str, str] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def put(self, name: str, side: str, value: float, remark: str = "") -> None:
        """Note a figure of a side."""
        self.values.setdefault(name, {})[side] = value
        if remark:
            self.remarks[f"{name}, {side}"] = remark

    def get(self, name: str, side: str) -> float | None:
        """Return a figure, or None where it was not measured."""
        return self.values.get(name, {}).get(side)
