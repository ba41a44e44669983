"""Pods of an older version of the operator, which are kept: an upgrade is no reason to restart them. Pure.

What holds pods (a StatefulSet or Deployment) is marked with what its pods were planned from, and with which
pods came of it. Where the same inputs give other pods now, only the operator's version can have changed.
The pods that are there then stay as they are, with what belongs to them: their ConfigMaps and Services. That
lasts until somebody changes an input, be it by the annotation that asks for it.

Invariants: the source of what is kept is what is there, so that nothing more is stored; what is gone of it is
made as it is planned now.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from disagg_operator.build.deployment import frontend_deployment
from disagg_operator.plan import names
from disagg_operator.plan.cluster import KeptWorkers
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.reconcile.applying.diff import identity, is_terminating
from disagg_operator.reconcile.kinds import CONFIG_MAP, DEPLOYMENT, SERVICE, STATEFUL_SET, Object
from disagg_operator.reconcile.observe import Observed, label, number_of

_HOLD_PODS = {STATEFUL_SET.kind, DEPLOYMENT.kind}
_USED = {CONFIG_MAP.kind, SERVICE.kind}
_REACHES_NOBODY = {names.LABEL_REACH: ""}
_CONFIG = "config"
"""The volume with the configuration files of workers or frontends."""


class _Mark(NamedTuple):
    """What the pods of an object come from.

    Attributes:
        inputs: hash of what they were planned from.
        pods: hash of what came of it, whatever workers a frontend sends requests to.
        listed: hash of the workers that a frontend lists, or nothing.
    """

    inputs: str
    pods: str
    listed: str


def kept_workers(plan: Plan, observed: Observed) -> KeptWorkers | None:
    """Return the workers that are kept in place of the plan's, or None.

    They are those that were planned from the same inputs. Of a role that was scaled to nothing there may be
    no pod to go by, and pods that lost their ConfigMap or Services cannot be made again.
    """
    sets = [
        obj
        for obj in observed.stateful_sets()
        if label(obj, names.LABEL_ROLE) in ROLES and not is_terminating(obj)
    ]
    by_revision: dict[str, list[Object]] = {}
    for obj in sets:
        by_revision.setdefault(label(obj, names.LABEL_REVISION), []).append(obj)
    if plan.revision in by_revision:
        return None
    found = [
        revision
        for revision, objects in by_revision.items()
        if all((mark := _mark_of(obj)) is not None and mark.inputs == plan.planned_for for obj in objects)
    ]
    if len(found) != 1:
        return None
    (revision,) = found
    there = {label(obj, names.LABEL_ROLE): obj for obj in by_revision[revision]}
    whole = all(role in there or not plan.roles[role].replicas for role in ROLES)
    if not whole or not all(_has_all(obj, observed) for obj in by_revision[revision]):
        return None
    single = {role: obj for role, obj in there.items() if not label(obj, names.LABEL_GROUP)}
    return KeptWorkers(revision, {role: obj["spec"]["serviceName"] for role, obj in single.items()})


def _has_all(obj: Object, observed: Observed) -> bool:
    """Tell whether all is there that a StatefulSet's pods use, by whatever names: files, names, discovery."""
    if (CONFIG_MAP.kind, _config_of(obj)) not in observed.objects:
        return False
    if (SERVICE.kind, obj["spec"]["serviceName"]) not in observed.objects:
        return False
    first = {**obj["spec"]["template"]["metadata"]["labels"], names.LABEL_POD_INDEX: "0"}
    return any(
        service["spec"].get("selector", {}).items() <= first.items()
        for (kind, _), service in observed.objects.items()
        if kind == SERVICE.kind and not service["spec"].get("publishNotReadyAddresses")
    )


def kept(objects: Iterable[Object], plan: Plan, observed: Observed) -> list[Object]:
    """Return the objects to apply: marked, and as they are there where they are kept.

    Args:
        objects: what is planned now.
        plan: their plan.
        observed: what is there.
    """
    marked = [
        _marked(obj, plan)
        for obj in objects
        if not (_is_used_by_kept(obj, plan) or _is_another_service(obj, plan, observed))
    ]
    stay = {_part(obj) for obj in marked if _stays(obj, observed)}
    found = [_as_there(obj, plan, observed) if _part(obj) in stay else obj for obj in marked]
    fronts = [obj for obj in found if obj["kind"] == DEPLOYMENT.kind and _part(obj) in stay]
    files = {_part(obj): _config_of(obj) for obj in fronts}
    return [
        _files_as_there(obj, files[_part(obj)], observed)
        if obj["kind"] == CONFIG_MAP.kind and _part(obj) in files
        else obj
        for obj in found
    ]


def kept_frontend(plan: Plan, observed: Observed) -> Object:
    """Return the frontend's Deployment as it is to be applied."""
    (found,) = kept([frontend_deployment(plan)], plan, observed)
    return found


def keeps_frontend(plan: Plan, observed: Observed) -> bool:
    """Tell whether frontends that another version of the operator planned are kept."""
    return _stays(_marked(frontend_deployment(plan), plan), observed)


def _marked(obj: Object, plan: Plan) -> Object:
    if obj["kind"] not in _HOLD_PODS:
        return obj
    pods, listed = plan.own_revision, ""
    if not label(obj, names.LABEL_REVISION):
        template = obj["spec"]["template"]
        if obj["kind"] == DEPLOYMENT.kind:
            template = _looking_in(template, _scope(plan), "")
        neutral = _replaced(template, {_config_of(obj): ""}, _REACHES_NOBODY)
        pods = names.digest(json.dumps(neutral, sort_keys=True))
    if obj["kind"] == DEPLOYMENT.kind and plan.frontend.listed:
        counts = {role: planned.replicas for role, planned in plan.roles.items()}
        listed = names.digest(json.dumps([plan.revision, counts], sort_keys=True))
    return _annotated(obj, _Mark(plan.planned_for, pods, listed))


def _annotated(obj: Object, mark: _Mark) -> Object:
    annotations = {**obj["metadata"].get("annotations", {}), names.ANNOTATION_PLANNED_FOR: "/".join(mark)}
    return {**obj, "metadata": {**obj["metadata"], "annotations": annotations}}


def _mark_of(obj: Object) -> _Mark | None:
    parts = obj["metadata"].get("annotations", {}).get(names.ANNOTATION_PLANNED_FOR, "").split("/")
    return _Mark(*parts) if len(parts) == len(_Mark._fields) else None


def _stays(obj: Object, observed: Observed) -> bool:
    """Tell whether a marked object is to have the pods that are there, of itself or beside it."""
    source = _source(obj, observed)
    new, old = _mark_of(obj), None if source is None else _mark_of(source)
    return new is not None and old is not None and new.inputs == old.inputs and new.pods != old.pods


def _source(obj: Object, observed: Observed) -> Object | None:
    """Return what an object is kept by: itself, or another pod group of its role and revision."""
    live = observed.objects.get(identity(obj))
    if live is not None or not label(obj, names.LABEL_GROUP):
        return live
    beside = [each for each in observed.groups() if _part(each) == _part(obj)]
    return min(beside, key=number_of, default=None)


def _part(obj: Object) -> tuple[str, str]:
    """Return which part of a deployment an object belongs to: by its role, and revision if it has one."""
    return label(obj, names.LABEL_ROLE), label(obj, names.LABEL_REVISION)


def _as_there(obj: Object, plan: Plan, observed: Observed) -> Object:
    source = _source(obj, observed)
    if source is None or obj["kind"] not in {*_HOLD_PODS, SERVICE.kind}:
        return obj
    if obj["kind"] == SERVICE.kind:
        return {**obj, "spec": source["spec"]}
    new, old = _mark_of(obj), _mark_of(source)
    if new is None or old is None:
        return obj
    spec = source["spec"]
    if label(obj, names.LABEL_GROUP):
        of_group = {names.LABEL_GROUP: label(obj, names.LABEL_GROUP)}
        spec = _replaced(spec, {source["metadata"]["name"]: obj["metadata"]["name"]}, of_group)
    if obj["kind"] == DEPLOYMENT.kind:
        reach = label(source["spec"]["template"], names.LABEL_REACH)
        files = {_config_of(source): _config_of(obj)} if new.listed != old.listed else {}
        template = _looking_in(spec["template"], _scope_of(plan, reach), _scope(plan))
        spec = {**spec, "template": _replaced(template, files, {names.LABEL_REACH: plan.frontend.reach})}
    # How many there are, and how they are replaced, is no matter of the pods.
    kept_spec = {**spec, **{key: obj["spec"][key] for key in ("replicas", "strategy") if key in obj["spec"]}}
    return _annotated({**obj, "spec": kept_spec}, old._replace(listed=new.listed))


def _files_as_there(obj: Object, name: str, observed: Observed) -> Object:
    """Return a frontend's ConfigMap as the pods that are kept know it: by the name that they know."""
    live = observed.objects.get((CONFIG_MAP.kind, name))
    if live is None:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "name": name}, "data": live.get("data", {})}


def _is_used_by_kept(obj: Object, plan: Plan) -> bool:
    """Tell whether an object takes the place of what kept workers use, which stays as it is."""
    return plan.keeps_workers and obj["kind"] in _USED and label(obj, names.LABEL_REVISION) != ""


def _is_another_service(obj: Object, plan: Plan, observed: Observed) -> bool:
    """Tell whether an etcd or NATS is another one than that in which the workers that are kept register."""
    kind = label(obj, names.LABEL_ROLE)
    if not plan.keeps_workers or kind not in {service.kind for service in plan.discovery.services}:
        return False
    there = {label(each, names.LABEL_ROLE) for each in observed.stateful_sets()}
    return kind in there and identity(obj) not in observed.objects


def _scope(plan: Plan) -> str:
    return _scope_of(plan, plan.frontend.reach)


def _scope_of(plan: Plan, reach: str) -> str:
    """Return the scope in which a frontend looks for the workers of a revision, or of all."""
    every = names.dynamo_namespace(plan.namespace, plan.name)
    return every if reach in ("", names.ALL) else names.revision_scope(every, reach)


def _looking_in(template: Object, before: str, after: str) -> Object:
    """Return a frontend's pods with another scope in their command, as `plan.rollout.reach` changes it.

    The environment names the deployment's own scope, which one of the two may be: it stays.
    """
    containers = [
        {**each, "command": [after if word == before else word for word in each["command"]]}
        if "command" in each
        else each
        for each in template["spec"]["containers"]
    ]
    return {**template, "spec": {**template["spec"], "containers": containers}}


def _config_of(obj: Object) -> str:
    """Return the name of the ConfigMap with the files of an object's pods, or nothing."""
    volumes = obj["spec"]["template"]["spec"].get("volumes", [])
    return next((str(each["configMap"]["name"]) for each in volumes if each["name"] == _CONFIG), "")


def _replaced(value: Any, text: Mapping[str, str], fields: Mapping[str, str], key: str = "") -> Any:
    """Return a part of an object with other text: in place of whole texts, and by the name of a field."""
    if isinstance(value, dict):
        return {name: _replaced(part, text, fields, name) for name, part in value.items()}
    if isinstance(value, list):
        return [_replaced(part, text, fields) for part in value]
    if not isinstance(value, str) or not value:
        return value
    return fields.get(key, text.get(value, value))
