"""Which component is prefill and which is decode: by sub-type, by flags, or by name, in this order."""

from collections.abc import Sequence
from dataclasses import dataclass

from disagg_operator.cli.convert.command import Command, command_of
from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.graph import Component, Graph
from disagg_operator.plan.model import DECODE, PREFILL, ROLES

FRONTEND = "frontend"
_WORKER_KINDS = ("worker", "main", PREFILL, DECODE, "")
"""Types of components that run an engine; `main` is what early files write."""
_ENGINES = ("dynamo.trtllm", "dynamo.vllm", "dynamo.sglang", "dynamo.mocker")
_MODE = "--disaggregation-mode"
_MODE_VARIABLES = (
    "DYN_TRTLLM_DISAGGREGATION_MODE",
    "DYN_VLLM_DISAGGREGATION_MODE",
    "DYN_SGL_DISAGGREGATION_MODE",
)
_SWITCHES = {"--is-prefill-worker": PREFILL, "--is-decode-worker": DECODE}
_REMEDY = (
    "Write prefill and decode into subComponentType (v1alpha1) or type (v1beta1) of two components, or into "
    "their --disaggregation-mode"
)
_ONLY = "a DisaggDeployment runs prefill and decode apart"


@dataclass(frozen=True)
class Worker:
    """The component of a role.

    Attributes:
        role: prefill or decode.
        component: the component.
        command: what it runs.
        how: how the role was found, for people.
    """

    role: str
    component: Component
    command: Command
    how: str


@dataclass(frozen=True)
class Cast:
    """Who plays what in a graph.

    Attributes:
        workers: the components of the roles, prefill first.
        frontend: the front door, where the graph has one.
        others: components that nothing runs any more.
    """

    workers: tuple[Worker, Worker]
    frontend: Component | None
    others: tuple[Component, ...]


def cast_of(graph: Graph) -> Cast:
    """Return who plays what in a graph.

    Raises:
        ConversionError: the graph is aggregated, or a role is played by none or by several.
    """
    commands = {each.name: command_of(each) for each in graph.components}
    frontends = [each for each in graph.components if _is_frontend(each, commands[each.name])]
    engines = [
        each for each in graph.components if each not in frontends and _is_worker(each, commands[each.name])
    ]
    found = [worker for each in engines if (worker := _worker(each, commands[each.name])) is not None]
    workers = (_only(PREFILL, found, engines), _only(DECODE, found, engines))
    playing = [*(each.component for each in found), *frontends[:1]]
    others = tuple(each for each in graph.components if each not in playing)
    return Cast(workers, next(iter(frontends), None), others)


def _is_frontend(component: Component, command: Command) -> bool:
    return component.kind.text == FRONTEND or (not component.kind and command.module == "dynamo.frontend")


def _is_worker(component: Component, command: Command) -> bool:
    if component.kind.text not in _WORKER_KINDS:
        return False
    return bool(component.subtype) or command.module.startswith(_ENGINES) or not command.module


def _worker(component: Component, command: Command) -> Worker | None:
    by_type, by_flag, by_name = _by_type(component), _by_flag(component, command), _by_name(component)
    if by_type and by_flag and by_type[0] != by_flag[0]:
        raise ConversionError(
            f"component {component.name} contradicts itself: {by_type[1]} and {by_flag[1]}. Make them agree"
        )
    if by_flag and by_flag[0] not in ROLES:
        return None
    found = by_type or by_flag or by_name
    return None if found is None else Worker(found[0], component, command, found[1])


def _by_type(component: Component) -> tuple[str, str] | None:
    if not component.subtype:
        return None
    return component.subtype.text, f"by sub-type: {component.subtype.path} is {component.subtype.text}"


def _by_flag(component: Component, command: Command) -> tuple[str, str] | None:
    for switch, role in _SWITCHES.items():
        flag = command.flag(switch)
        if flag is not None and flag.value.lower() not in ("false", "0"):
            return role, f"by flag: {switch}"
    flag = command.flag(_MODE)
    if flag is not None:
        return flag.value, f"by flag: {_MODE} {flag.value}"
    variables = component.effective()
    for name in _MODE_VARIABLES:
        value = variables[name].value if name in variables else None
        if value:
            return value, f"by flag: {name}={value}"
    return None


def _by_name(component: Component) -> tuple[str, str] | None:
    named = [role for role in ROLES if role in component.name.lower()]
    if len(named) != 1:
        return None
    return named[0], f"by name: {component.name} holds {named[0]}"


def _only(role: str, found: Sequence[Worker], engines: Sequence[Component]) -> Worker:
    playing = [each for each in found if each.role == role]
    if len(playing) == 1:
        return playing[0]
    if playing:
        names = ", ".join(each.component.name for each in playing)
        raise ConversionError(
            f"several components are {role}: {names}. A DisaggDeployment has one {role} of any number of "
            "replicas: leave one, and convert the others as graphs of their own"
        )
    unclear = [each.name for each in engines if each not in [one.component for one in found]]
    if not unclear or not found:
        raise ConversionError(
            f"is aggregated, not disaggregated: {_told(found, engines)}, and {_ONLY}. {_REMEDY}"
        )
    raise ConversionError(
        f"has no {role} component; {', '.join(unclear)} might be it, and {_ONLY}. {_REMEDY}"
    )


def _told(found: Sequence[Worker], engines: Sequence[Component]) -> str:
    if found:
        return f"its only worker is {found[0].component.name}, {found[0].how}"
    names = ", ".join(each.name for each in engines) or "none"
    return f"no component is prefill or decode (workers: {names})"
