"""Profiles that an installation or a deployment brings along."""

from pathlib import Path
from typing import Any

import pytest

from disagg_operator.api.problems import Refusal
from disagg_operator.plan.model import DECODE, Plan, PodPlan
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.folder import with_folder
from unit.deployments import planned

MACHINE = """\
like: infiniband
fabrics: [campus]
devices:
  - {name: rdma/ib, $patch: delete}
  - {name: rdma/hca_shared, per_pod: 1}
gpus: {count: 4, model: L40S, reason: Counted., source: https://example.com/inventory}
"""
FABRIC = """\
like: infiniband
description: The InfiniBand of the campus cluster.
environment:
  - {name: UCX_NET_DEVICES, value: "mlx5_0:1"}
"""


def decode(result: Plan) -> PodPlan:
    return result.roles[DECODE].pod


def devices(result: Plan) -> dict[str, int]:
    return {device.name: device.count for device in decode(result).devices}


def folder(path: Path, **files: str) -> Path:
    for name, text in files.items():
        part = "fabrics" if name.startswith("fabric") else "machines"
        (path / part).mkdir(exist_ok=True)
        (path / part / f"{name.removeprefix('fabric_')}.yaml").write_text(text)
    return path


def test_a_folder_adds_machines_and_fabrics(tmp_path: Path) -> None:
    catalogue = with_folder(builtin(), folder(tmp_path, lab=MACHINE, fabric_campus=FABRIC))
    result = planned("lab", catalogue=catalogue)
    assert devices(result) == {"nvidia.com/gpu": 2, "rdma/hca_shared": 1}
    variables = {each.name: each for each in decode(result).environment}
    assert variables["UCX_NET_DEVICES"].value == "mlx5_0:1"
    assert variables["UCX_NET_DEVICES"].provenance.line == "fabrics/campus.yaml:4"
    assert variables["UCX_TLS"].provenance.line.startswith("fabrics/infiniband.yaml:")
    assert catalogue.machines["lab"].name == "lab"


def test_a_fabric_that_is_like_efa_is_one_for_images_and_rules(tmp_path: Path) -> None:
    fabric = "like: efa\nenvironment: [{name: LD_LIBRARY_PATH, $patch: delete}]\n"
    machine = "like: aws-p5.48xlarge\nfabrics: [campus]\n"
    catalogue = with_folder(builtin(), folder(tmp_path, lab=machine, fabric_campus=fabric))
    result = planned("lab", catalogue=catalogue)
    assert decode(result).image.endswith("-efa")
    names = {each.name for each in decode(result).environment}
    assert "FI_PROVIDER" in names
    assert "LD_LIBRARY_PATH" not in names
    with pytest.raises(Refusal, match="FI_PROVIDER=tcp makes libfabric leave EFA"):
        planned("lab", catalogue=catalogue, env=[{"name": "FI_PROVIDER", "value": "tcp"}])


def test_a_fabric_of_its_own_kind_is_that_kind(tmp_path: Path) -> None:
    text = (
        "description: Rockets.\n"
        "nixl_backends: [{value: UCX}]\n"
        "security: [{mode: Restricted}]\n"
        "environment: [{name: ROCKETS, value: '{{ kind }}', when: {kind: [rocket]}}]\n"
    )
    catalogue = with_folder(builtin(), folder(tmp_path, lab="fabrics: [rocket]\n", fabric_rocket=text))
    assert ("ROCKETS", "rocket") in {
        (each.name, each.value) for each in decode(planned("lab", catalogue=catalogue)).environment
    }


def test_values_of_a_folder_say_where_they_stand_unless_they_say_it_themselves(tmp_path: Path) -> None:
    catalogue = with_folder(builtin(), folder(tmp_path, lab=MACHINE, fabric_campus=FABRIC))
    machine = catalogue.machines["lab"]
    assert machine.gpus is not None
    assert (machine.gpus.reason, machine.gpus.source) == ("Counted.", "https://example.com/inventory")
    (device,) = machine.devices
    assert device.source == "machines/lab.yaml, devices[rdma/hca_shared]"


def test_a_machine_that_is_like_none_is_like_generic(tmp_path: Path) -> None:
    catalogue = with_folder(builtin(), folder(tmp_path, lab="node_labels: [{name: pool, value: gpu}]\n"))
    assert catalogue.machines["lab"].fabrics == ("tcp",)


def test_a_profile_of_a_known_name_is_laid_over_the_known_one(tmp_path: Path) -> None:
    text = "devices: [{name: vpc.amazonaws.com/efa, per_node: 31}]\n"
    catalogue = with_folder(builtin(), folder(tmp_path, **{"aws-p5.48xlarge": text}))
    assert devices(planned("aws-p5.48xlarge", catalogue=catalogue))["vpc.amazonaws.com/efa"] == 7
    # What is like it follows.
    assert catalogue.machines["aws-p5e.48xlarge"].devices[0].per_node == 32
    assert builtin().machines["aws-p5.48xlarge"].devices[0].per_node == 32


def test_hidden_folders_of_a_mounted_config_map_are_passed_over(tmp_path: Path) -> None:
    folder(tmp_path, lab="like: generic\n")
    (tmp_path / "machines" / "..data.yaml").write_text("[broken")
    assert "lab" in with_folder(builtin(), tmp_path).machines


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"lab": "devices: [{name: a/b, per_node: 4, per_pod: 1}]\n"},
            r"^machines/lab\.yaml: devices\[a/b\]: needs exactly one of per_node, per_gpu and per_pod\.",
        ),
        (
            {"lab": "gpus: {count: 0, model: X}\n"},
            r"^machines/lab\.yaml: gpus\.count: 0 is too small\.",
        ),
        ({"lab": "enviroment: []\n"}, r"^machines/lab\.yaml: enviroment: .* Did you mean environment\?"),
        ({"lab": "fabrics: [warp]\n"}, r"^machines/lab\.yaml: fabrics: there is no fabric 'warp'\. Write"),
        ({"lab": "like: warp\n"}, r"^machines/lab\.yaml: like: there is no profile 'warp'\. Write one of"),
        ({"lab": "like: 5\n"}, r"^machines/lab\.yaml: like: is no name\. Write a name"),
        ({"lab": "like: lab\n"}, r"^machines/lab\.yaml: like: a profile cannot be like itself: lab → lab"),
        ({"lab": "name: other\n"}, r"^machines/lab\.yaml: name: is 'other'\. Write lab, or rename"),
        (
            {"lab": "annotations: [{name: a b, value: x}]\n"},
            r"^machines/lab\.yaml: annotations\[a b\]\.name: 'a b' is not allowed here\. Write a name as Kub",
        ),
        (
            {"lab": "like: aws-p5.48xlarge\nenvironment: [{name: FI_PROVIDER, $patch: delete}]\n"},
            r"^machines/lab\.yaml: environment\[FI_PROVIDER\]: there is no such entry to remove .* fabric of",
        ),
        (
            {"aws-p5.48xlarge": "devices: [{name: rdma/ib, $patch: delete}]\n"},
            r"^machines/aws-p5\.48xlarge\.yaml: devices\[rdma/ib\]: there is no such entry to remove",
        ),
        (
            {"fabric_campus": "like: efa\nenvironment: [{name: FI_PROVIDERS, $patch: delete}]\n"},
            r"^fabrics/campus\.yaml: environment\[FI_PROVIDERS\]: there is no such entry to remove",
        ),
        ({"lab": "fabrics: [\n"}, r"^machines/lab\.yaml: not YAML: .*line 2"),
        ({"lab": "- a\n"}, r"^machines/lab\.yaml: holds no map"),
        ({"fabric_campus": "description: x\n"}, r"^fabrics/campus\.yaml: nixl_backends: is missing"),
        (
            {"lab": 'annotations: [{name: a, value: "{{ x }}"}]\n'},
            r"^machines/lab\.yaml: .*a: the template uses 'x', which is no fact",
        ),
    ],
)
def test_a_profile_that_cannot_be_used_is_named_in_one_line(
    tmp_path: Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(ProfileError, match=words) as fault:
        with_folder(builtin(), folder(tmp_path, **files))
    assert "\n" not in str(fault.value)


def test_a_template_that_fails_on_a_deployment_refuses_that_one(tmp_path: Path) -> None:
    text = "annotations: [{name: a, value: \"{{ devices['a/b'] }}\"}]\n"
    catalogue = with_folder(builtin(), folder(tmp_path, lab=text))
    with pytest.raises(Refusal, match=r"^spec\.platform: its profile: .*devices.* fails: .*no attribute"):
        planned("lab", catalogue=catalogue)
    assert planned("generic", catalogue=catalogue)


def test_a_part_is_no_platform_but_others_may_be_like_it(tmp_path: Path) -> None:
    part = "annotations: [{name: owner, value: us}]\ngpus: {model: L4}\n"
    rest = "like: [generic, _ours]\ngpus: {count: 4}\n"
    catalogue = with_folder(builtin(), folder(tmp_path, _ours=part, lab=rest))
    assert "_ours" not in catalogue.machines
    assert catalogue.machines["lab"].annotations[0].value == "us"


def test_a_folder_without_profiles_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"holds neither machines/NAME\.yaml nor"):
        with_folder(builtin(), tmp_path)
    with pytest.raises(ProfileError, match="there is no such folder"):
        with_folder(builtin(), tmp_path / "none")


def test_a_deployment_changes_its_platform_in_place() -> None:
    profile = {
        "devices": [{"name": "vpc.amazonaws.com/efa", "per_node": 8}],
        "environment": [{"name": "FI_LOG_LEVEL", "value": "warn"}],
    }
    result = planned("aws-p5.48xlarge", platformProfile=profile)
    assert devices(result)["vpc.amazonaws.com/efa"] == 2
    (variable,) = [each for each in decode(result).environment if each.name == "FI_LOG_LEVEL"]
    assert variable.provenance.reason == "Set by the user."
    assert variable.provenance.source == "spec.platformProfile.environment[FI_LOG_LEVEL]"
    (device,) = [each for each in decode(result).devices if each.name == "vpc.amazonaws.com/efa"]
    assert device.provenance.source == "spec.platformProfile.devices[vpc.amazonaws.com/efa]"
    assert device.provenance.line == ""


def test_a_count_replaces_an_inherited_one_of_another_sort() -> None:
    profile = {"devices": [{"name": "vpc.amazonaws.com/efa", "per_gpu": 1}]}
    assert devices(planned("aws-p5.48xlarge", platformProfile=profile))["vpc.amazonaws.com/efa"] == 2


def test_a_deployment_starts_from_the_profile_that_it_is_like() -> None:
    result = planned(platformProfile={"like": "roce", "devices": [{"name": "rdma/ib", "$patch": "delete"}]})
    assert devices(result) == {"nvidia.com/gpu": 2}
    assert "UCX_IB_GID_INDEX" in {each.name for each in decode(result).environment}


@pytest.mark.parametrize("removed", [None, {"$patch": "delete"}])
def test_a_deployment_removes_what_its_platform_says(removed: Any) -> None:
    result = planned("aws-p5.48xlarge", platformProfile={"gpu_worker_resources": removed})
    assert decode(result).resources == {}


def test_a_profile_may_be_like_several() -> None:
    result = planned(platformProfile={"like": ["roce", "aws-p5.48xlarge"]})
    assert devices(result) == {"nvidia.com/gpu": 2, "rdma/ib": 2, "vpc.amazonaws.com/efa": 8}


def test_an_empty_profile_changes_no_revision() -> None:
    assert planned("aws-p5.48xlarge", platformProfile={}).revision == planned("aws-p5.48xlarge").revision


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        ({"like": "warp"}, r"^spec\.platformProfile\.like: there is no platform 'warp'\. Write one of: aks-"),
        ({"like": 5}, r"^spec\.platformProfile\.like: is no name\. Write the name of a platform"),
        ({"like": ["roce", "warp"]}, r"^spec\.platformProfile\.like: there is no platform 'warp'"),
        ({"fabrics": ["warp"]}, r"^spec\.platformProfile\.fabrics: there is no fabric 'warp'\. Write one of"),
        (
            {"devices": [{"name": "vpc.amazonaws.com/efa", "per_gpu": 1, "per_pod": 1}]},
            r"^spec\.platformProfile\.devices\[vpc\.amazonaws\.com/efa\]: needs exactly one of ",
        ),
        (
            {"tolerations": [{"name": "a", "effect": "Never"}]},
            r"^spec\.platformProfile\.tolerations\[a\]\.effect: 'Never' is not allowed\. Write one of: NoSch",
        ),
        ({"gpu": {}}, r"^spec\.platformProfile\.gpu: there is no such field\. Did you mean gpus\?"),
        ({"environment": [{"name": "A", "value": 1}]}, r"\.environment\[A\]\.value: must be text, .*quotes"),
        (
            {"environment": [{"name": ["A"], "value": "1"}]},
            r"^spec\.platformProfile\.environment\[0\]\.name: ",
        ),
        (
            {"environment": [{"name": "LD_LIBRARY_PATH", "$patch": "delete"}]},
            r"^spec\.platformProfile\.environment\[LD_LIBRARY_PATH\]: there is no such entry to remove",
        ),
        ({"environment": [{"name": "A B", "value": "1"}]}, r"environment\[A B\]\.name: 'A B' is not allowed"),
        (
            {"mounts": [{"name": "m", "path": "/m", "host_path": "m"}]},
            r"mounts\[m\]\.host_path: 'm' is not allowed here\. Write an absolute path",
        ),
        (
            {"fabrics": ["inf"]},
            r"there is no fabric 'inf'\. Did you mean aks-infiniband or .* or infiniband\?",
        ),
        ({"environment": "A=1"}, r"^spec\.platformProfile\.environment: "),
        (
            {"mounts": [{"name": "m", "path": "/m"}]},
            r"^spec\.platformProfile\.mounts\[m\]\.host_path: is missing",
        ),
        (
            {"environment": [{"name": "A", "value": "{{ ''.__class__ }}"}]},
            r"^spec\.platformProfile\.environment\[0\]\.value: .* may not hold templates",
        ),
        (
            {"environment": [{"name": "A", "value": "1", "when": {"rôle": ["decode"]}}]},
            r"^spec\.platformProfile\.environment\[A\]: when: there is no fact 'rôle'\. Write one of: engine",
        ),
    ],
)
def test_a_deployment_s_profile_that_cannot_be_used_is_refused_by_field(
    profile: dict[str, Any], words: str
) -> None:
    with pytest.raises(Refusal, match=words):
        planned("aws-p5.48xlarge", platformProfile=profile)


@pytest.mark.parametrize(
    ("given", "remedy"),
    [
        ("p5.48xlarge", r"Did you mean aws-p5\.48xlarge\?"),
        ("aws-p5.48xlarg", r"Did you mean aws-p5\.48xlarge\?"),
        ("aws-p4", r"Did you mean aws-p4d\.24xlarge or aws-p4de\.24xlarge\?"),
        ("aws", "Write one of: aks-nd-h100-v5, "),
        ("warp", "Write one of: aks-nd-h100-v5, "),
    ],
)
def test_a_platform_s_name_that_is_nearly_right_is_put_right(given: str, remedy: str) -> None:
    with pytest.raises(Refusal, match=f"^spec.platform: there is no platform '{given}'. {remedy}"):
        planned(given)


def test_an_unknown_platform_is_named_though_a_profile_is_laid_over_it() -> None:
    with pytest.raises(Refusal, match=r"^spec\.platform: there is no platform 'warp'"):
        planned("warp", platformProfile={"fabrics": ["tcp"]})
