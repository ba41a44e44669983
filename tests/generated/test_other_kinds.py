"""DisaggScalers, and the profiles of an installation's ConfigMap: taken or refused with words, as well."""

import copy
import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from disagg_operator.api.crd.schema import structural
from disagg_operator.api.v1alpha1.scaler import DisaggScaler
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.folder import with_folder
from generated.conftest import Run
from generated.hostile import HOSTILE
from generated.judges import Server, in_time
from generated.resources import NAMESPACE, places
from generated.values import at_limit, fitting, violating
from integration.operator.control_plane import Api
from testcluster.paths import REPOSITORY

SPEC = structural(DisaggScaler)["properties"]["spec"]
MACHINES = REPOSITORY / "operator/src/disagg_operator/platforms/machines"


def scaler(dice: Random) -> dict[str, Any]:
    """Return a scaler with one count, or something else in its place."""
    make = dice.choice([fitting, at_limit, violating])
    spec: Any = {"replicas": make(dice, SPEC["properties"]["replicas"], "replicas")}
    if dice.random() < 0.2:
        spec[dice.choice(["more", "", "Replicas"])] = dice.choice(HOSTILE)
    if dice.random() < 0.1:
        spec = dice.choice(HOSTILE)
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggScaler",
        "metadata": {"name": "judged", "namespace": NAMESPACE},
        "spec": copy.deepcopy(spec),
    }


def is_scaler(resource: dict[str, Any]) -> bool:
    """Tell whether our model takes a scaler."""
    try:
        DisaggScaler.model_validate_json(json.dumps(resource), strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return False
    return True


@pytest.mark.apiserver
@pytest.mark.timeout(0)
def test_scalers_are_judged_by_the_api_server_as_by_the_model(run: Run, api: Api) -> None:
    server = Server(api.http, api.path("disaggscalers", NAMESPACE))
    counts = Counter[bool]()
    for number in run.sample(10, 60):
        made = scaler(Random(f"{run.seed}:{number}"))  # noqa: S311 - to be made again
        answered, stored = server.create(made)
        assert answered.accepted == is_scaler(made), (json.dumps(made)[:500], answered)
        assert stored is None or 0 <= stored["spec"]["replicas"] <= 1000
        counts[answered.accepted] += 1
    assert counts[True]
    assert counts[False]


def profile(dice: Random) -> Any:
    """Return a machine profile of ours with up to three changes."""
    file = dice.choice(sorted(MACHINES.glob("[a-z]*.yaml")))
    document: Any = {"root": {**yaml.safe_load(file.read_text(encoding="utf-8")), "name": "mine"}}
    for _ in range(dice.randint(0, 3)):
        found = list(places(document))
        if not found:
            break
        container, key = dice.choice(found)
        if dice.random() < 0.3:
            del container[key]
        else:
            container[key] = copy.deepcopy(dice.choice(HOSTILE))
    return document.get("root")


def profile_fault(folder: Path) -> str:
    """Return why the profiles of a folder cannot be used, or nothing."""
    try:
        with in_time():
            with_folder(builtin(), folder)
    except ProfileError as error:
        return str(error)
    return ""


def test_a_profile_is_taken_or_refused_by_its_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    file = tmp_path / "machines" / "mine.yaml"
    counts = Counter[bool]()
    for number in run.sample(20, 60):
        made = profile(Random(f"{run.seed}:{number}"))  # noqa: S311 - to be made again
        file.write_text(json.dumps(made), encoding="utf-8")
        fault = profile_fault(tmp_path)
        assert not fault or "machines/mine.yaml" in fault, fault[:500]
        counts[not fault] += 1
    assert counts[True]
    assert counts[False]
