"""What becomes of the settings that were offered: those that the operator derives alike are not written.

The resource without them is planned, just as the operator would, and each offer is compared with the plan.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.cli.convert.draft import Draft, Offer
from disagg_operator.plan.engines.config import value_at
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.planner import plan

_ABSENT = object()
_MODES = ("Restricted", "IpcLock", "Privileged")
"""From the least privilege to the most."""


@dataclass(frozen=True)
class _Derived:
    """What the operator derives without the offers.

    Attributes:
        plan: the plan, or None where the resource cannot be planned.
        reasons: why, by role, kind and name.
    """

    plan: Plan | None
    reasons: Mapping[tuple[str, str, str], str]

    def value(self, offer: Offer) -> Any:
        """Return what is derived in place of an offer."""
        if self.plan is None:
            return _ABSENT
        role = self.plan.roles[offer.role]
        if offer.kind == "image":
            return role.pod.image
        if offer.kind == "variable":
            return next(
                (
                    {"name": each.name, "value": each.value}
                    for each in role.pod.environment
                    if each.name == offer.name and each.value_from is None
                ),
                _ABSENT,
            )
        if offer.kind == "device":
            return next((each.count for each in role.pod.devices if each.name == offer.name), _ABSENT)
        return value_at(role.engine_config, offer.name, _ABSENT)

    def says(self, offer: Offer) -> bool:
        """Tell whether what is derived is just what is offered."""
        if offer.kind == "security":
            return True
        value = self.value(offer)
        return type(value) is type(offer.value) and bool(value == offer.value)

    def why(self, offer: Offer) -> str:
        """Return why it is derived."""
        kind = {"setting": "engine setting"}.get(offer.kind, offer.kind)
        return self.reasons.get((offer.role, kind, offer.name), "the operator derives the same")


def settle(draft: Draft, installation: Installation) -> None:
    """Write the offers that the operator does not derive alike."""
    last = {(offer.role, offer.kind, offer.name): offer for offer in draft.offers}
    counting = [offer for offer in draft.offers if _counts(offer, last)]
    for offer in draft.offers:
        if not _counts(offer, last):
            draft.dropped(offer.parts, "what is written later wins over it")
    derived, kept = _kept(draft, counting, installation)
    for offer in counting:
        if offer.kind == "security":
            _settle_security(draft, derived, offer)
        elif offer in kept:
            _write(draft, kept, offer)
        else:
            draft.derived(offer.parts, f"the operator derives the same. {derived.why(offer)}")


def _counts(offer: Offer, last: Mapping[tuple[str, str, str], Offer]) -> bool:
    return offer.kind != "setting" or offer is last[offer.role, offer.kind, offer.name]


def _kept(draft: Draft, offers: list[Offer], installation: Installation) -> tuple[_Derived, list[Offer]]:
    """Return what is derived, and the offers that differ from it.

    What is derived may follow from what is written, so whatever comes out otherwise is written as well.
    """
    derived = _derived(draft, installation)
    kept: list[Offer] = []
    while True:
        other = [offer for offer in offers if offer not in kept and not derived.says(offer)]
        if not other:
            return derived, kept
        kept = [*kept, *other]
        trial = deepcopy(draft)
        for offer in kept:
            _write(trial, kept, offer)
        after = _derived(trial, installation)
        if after.plan is None:
            return derived, kept
        derived = after


def _derived(draft: Draft, installation: Installation) -> _Derived:
    try:
        planned = plan(accept(draft.resource()), installation)
    except Refusal:
        return _Derived(None, {})
    reasons = {
        (component, setting.kind, setting.name): setting.reason
        for setting in explained(planned)
        for component in setting.components
    }
    return _Derived(planned, reasons)


def _settle_security(draft: Draft, derived: _Derived, offer: Offer) -> None:
    given = "" if derived.plan is None else derived.plan.roles[offer.role].pod.security.mode
    if given in _MODES and _MODES.index(given) >= _MODES.index(offer.value):
        draft.derived(offer.parts, f"the platform's fabric gets {given} by itself")
        return
    known = draft.read("spec.security.mode") or _MODES[0]
    draft.write("spec.security.mode", max(known, offer.value, key=_MODES.index), *offer.parts)


def _write(draft: Draft, kept: list[Offer], offer: Offer) -> None:
    if offer.kind == "image":
        draft.write("spec.runtime.image", offer.value, *offer.parts)
    elif offer.kind == "device":
        draft.write(("spec", offer.role, "devices", offer.name), offer.value, *offer.parts)
    elif offer.kind == "variable":
        shared = all(
            any(each.kind == "variable" and each.role == role and each.value == offer.value for each in kept)
            for role in ROLES
        )
        draft.append("spec.env" if shared else f"spec.{offer.role}.env", offer.value, *offer.parts)
    else:
        _write_setting(draft, offer)


def _write_setting(draft: Draft, offer: Offer) -> None:
    to = ("spec", offer.role, "engineConfig", *offer.name.split("."))
    why = "null removes what would be derived" if offer.value is None else ""
    draft.write(to, offer.value, *offer.parts, why=why)
