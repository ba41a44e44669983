"""``kubectl disagg render`` as a user calls it."""

import json
import re
from importlib import metadata
from io import StringIO
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from typer.testing import CliRunner, Result

from disagg_operator.cli.main import app
from disagg_operator.cli.needs.tables import namespace_table
from disagg_operator.cli.terminal import table
from disagg_operator.platforms.catalogue import builtin

EXAMPLE = Path(__file__).resolve().parents[3] / "examples/01-quickstart/smollm2.yaml"


def render(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["render", *arguments], input=text)


def test_standard_input_renders_like_the_file() -> None:
    assert render("-f", "-", text=EXAMPLE.read_text()).stdout == render("-f", str(EXAMPLE)).stdout


def test_the_manifests_are_one_yaml_stream() -> None:
    kinds = [document["kind"] for document in yaml.safe_load_all(render("-f", str(EXAMPLE)).stdout)]
    assert sorted(kinds) == sorted(
        [
            "NetworkPolicy",
            "ServiceAccount",
            "RoleBinding",
            "Deployment",
            *["Service"] * 2,
            "ConfigMap",
            *["StatefulSet"] * 2,
        ]
    )


def test_a_resource_without_a_namespace_gets_the_one_asked_for() -> None:
    result = render("-f", str(EXAMPLE), "-n", "team-a")
    assert {document["metadata"]["namespace"] for document in yaml.safe_load_all(result.stdout)} == {"team-a"}


def test_a_wrong_resource_is_refused_with_field_fault_and_remedy() -> None:
    result = render("-f", "-", text=EXAMPLE.read_text().replace("platform: local", "platform: locale"))
    assert result.exit_code == 1
    assert "spec.platform" in result.stderr
    assert "local" in result.stderr
    assert "Traceback" not in result.stderr
    assert not result.stdout


EFA = EXAMPLE.parents[1] / "04-efa/llama-70b.yaml"


def needs(text: str) -> dict[str, Any]:
    result = render("-f", "-", "--needs", "-o", "json", text=text)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    return dict(found)


def test_needs_count_nodes_devices_and_the_room_of_a_rollout() -> None:
    found = needs(EFA.read_text())
    # 4 prefill pods of 2 GPUs fill a node, 2 of decode have one each; a rollout adds one of each role.
    assert found["nodes"] == {
        "gpus": {"count": 8, "model": "H100"},
        "count": 3,
        "moreInRollout": 2,
        "rolesApart": True,
        "sameValueOf": "topology.kubernetes.io/zone",
    }
    prefill, decode, frontend = found["pods"]
    assert (prefill["count"], prefill["moreInRollout"]) == (4, 1)
    assert (decode["count"], decode["moreInRollout"]) == (2, 1)
    assert decode["each"]["vpc.amazonaws.com/efa"] == "32"
    assert decode["nodeLabels"] == [["node.kubernetes.io/instance-type=p5.48xlarge"]]
    assert frontend["each"]["memory"] == "512Mi"


def test_needs_name_what_must_be_installed_and_what_must_be_in_the_namespace() -> None:
    found = needs(EFA.read_text())
    provided = {name: each for each in found["components"] for name in each["provides"]}
    assert "aws-efa-k8s-device-plugin" in provided["vpc.amazonaws.com/efa"]["install"]
    assert {"nvidia.com/gpu", "topology.kubernetes.io/zone"} < set(provided)
    assert found["podSecurity"]["level"] == "privileged"
    assert "a privileged container" in found["podSecurity"]["because"]["decode"]
    # The ServiceAccount, the ConfigMap and Secrets that the operator makes are not asked for.
    secret = {"kind": "Secret", "name": "hf", "usedBy": ["prefill", "decode"], "keys": ["token"]}
    assert found["objects"] == [secret]
    assert found["guides"] == ["docs/efa.md#what-aws-and-the-cluster-must-bring"]


def test_needs_begin_with_the_operator_and_say_what_its_chart_brings() -> None:
    operator, *_, dynamo = needs(EXAMPLE.read_text())["components"]
    assert operator["install"].startswith("helm install disagg-operator CHART ")
    assert "kubectl disagg images" in operator["note"]
    assert dynamo["note"] == "in the chart of this operator, unless dynamo.crd.enabled=false"


def test_a_volume_of_several_pods_must_be_mountable_on_their_nodes() -> None:
    volume = {"kind": "PersistentVolumeClaim", "name": "models", "keys": []}
    fetched, _ = needs((EXAMPLE.parents[1] / "16-hub/hub.yaml").read_text())["objects"]
    users = ["model", "prefill", "decode"]
    assert fetched == {**volume, "usedBy": users, "pods": 3, "accessModes": ["ReadWriteMany"]}
    (given,) = needs((EXAMPLE.parents[1] / "03-volume/llama.yaml").read_text())["objects"]
    assert given["accessModes"] == ["ReadWriteMany", "ReadOnlyMany"]
    text = render("-f", str(EXAMPLE.parents[1] / "16-hub/hub.yaml"), "--needs").stdout
    assert "ReadWriteMany: 3 pods mount it" in text
    assert "the Job that fetches the model, prefill, decode" in text


def test_names_are_whole_in_a_terminal_of_120_columns() -> None:
    found = needs((EXAMPLE.parents[1] / "16-hub/hub.yaml").read_text())
    console = Console(width=120, record=True, file=StringIO())
    console.print(table(*namespace_table(found)))
    text = console.export_text()
    for name in ("pod-security.kubernetes.io/enforce", "PersistentVolumeClaim", "ReadWriteMany"):
        assert name in text


def test_commands_and_addresses_of_needs_stand_whole_on_a_line() -> None:
    lines = render("-f", str(EFA), "--needs").stdout.splitlines()
    for each in needs(EFA.read_text())["components"]:
        assert f"  {each['install']}" in lines
        assert f"  {each['source']}" in lines
    assert "the cloud provider's node controller (shows it):" in lines
    assert lines[-1].endswith("See docs/efa.md#what-aws-and-the-cluster-must-bring")


def test_guides_of_fabrics_are_headings_of_the_documentation() -> None:
    guides = {fabric.guide for fabric in builtin().fabrics.values() if fabric.guide}
    assert len(guides) == 3
    for guide in guides:
        page, anchor = guide.split("#")
        headings = re.findall("^#+ (.+)$", (EXAMPLE.parents[2] / page).read_text(), re.MULTILINE)
        assert anchor in {heading.lower().replace(" ", "-") for heading in headings}


def test_needs_follow_what_is_written() -> None:
    text = EFA.read_text() + (
        "  env: [{name: FI_EFA_USE_HUGE_PAGE, value: '1'}]\n"
        "  rollout: {prefill: {maxSurge: 0}, decode: {maxSurge: 0}}\n"
        "  serviceAccountName: mine\n"
    )
    text = text.replace(
        "tokenSecretRef: {name: hf, key: token}", "cache: {persistentVolumeClaim: {claimName: hub}}"
    )
    found = needs(text)
    assert found["nodes"]["moreInRollout"] == 0
    assert found["pods"][0]["each"]["hugepages-2Mi"] == "5Gi"
    objects = {(each["kind"], each["name"]) for each in found["objects"]}
    assert objects == {("PersistentVolumeClaim", "hub"), ("ServiceAccount", "mine")}


def test_pods_of_one_instance_are_on_different_nodes() -> None:
    text = EFA.read_text().replace(
        "decode: {replicas: 2, parallelism: {tensor: 8}}",
        "decode: {replicas: 1, nodesPerReplica: 4, parallelism: {tensor: 8}}",
    )
    assert needs(text)["nodes"]["count"] == 1 + 4


def test_no_pods_need_no_nodes() -> None:
    text = EFA.read_text().replace("replicas: 4", "replicas: 0").replace("replicas: 2", "replicas: 0")
    for platform in ("aws-p5.48xlarge", "gke-a4"):  # roles apart, and sharing nodes
        assert needs(text.replace("aws-p5.48xlarge", platform))["nodes"]["count"] == 0


def test_nodes_are_not_counted_where_nobody_knows_what_they_have() -> None:
    found = needs(EXAMPLE.read_text())
    assert found["nodes"]["count"] is None
    text = render("-f", str(EXAMPLE), "--needs").stdout
    assert "Platform local does not say what a node has" in text
    assert "pod-security.kubernetes.io/enforce  restricted, or none" in text


def test_explain_and_needs_do_not_go_together() -> None:
    result = render("-f", str(EXAMPLE), "--needs", "--explain")
    assert result.exit_code == 1
    assert "Write one of them" in result.stderr


def test_the_worker_image_is_the_release_s_and_says_that_the_chart_has_the_last_word() -> None:
    assumed = f"disagg-worker:{metadata.version('disagg-operator')}"
    text = render("-f", str(EXAMPLE)).stdout
    assert text.startswith(f"# {assumed} stands for worker.image of the operator's chart.")
    assert f"image: {assumed}\n" in text
    written = render("-f", str(EXAMPLE), "--worker-image", "example.com/worker:1").stdout
    assert written.startswith("---\n")
    assert "image: example.com/worker:1\n" in written


def test_scripts_are_readable() -> None:
    written = render("-f", str(EFA)).stdout
    for each in yaml.safe_load_all(written):
        for text in each.get("data", {}).values():
            assert f"\n    {text.splitlines()[-1]}\n" in written
    # Arguments, too: no program is one escaped string.
    assert not [line for line in written.splitlines() if line.count("\\n") > 1]


def test_a_missing_file_and_broken_yaml_are_named() -> None:
    missing = render("-f", "no-such-file.yaml")
    assert (missing.exit_code, "no-such-file.yaml" in missing.stderr) == (1, True)
    broken = render("-f", "-", text="a: [1")
    assert (broken.exit_code, "standard input: not YAML" in broken.stderr) == (1, True)
    other = render("-f", "-", text="kind: ConfigMap")
    assert (other.exit_code, "ConfigMap" in other.stderr) == (1, True)


def test_explain_names_the_source_of_each_variable() -> None:
    result = render("-f", str(EXAMPLE), "--explain")
    assert "DYN_NAMESPACE_WORKER_SUFFIX" in result.stdout
    assert "Dynamo 1.6.1" in result.stdout


def test_explain_tells_each_reason_once_and_breaks_no_value_or_address() -> None:
    example = EXAMPLE.parents[1] / "04-efa/llama-70b.yaml"
    text = render("-f", str(example), "--explain").stdout
    entries = explanation("04-efa/llama-70b.yaml")
    lines = text.splitlines()
    for entry in entries:
        assert any(line.startswith(f"{entry['kind']} {entry['name']} = ") for line in lines)
        assert f"    {entry['source']}" in lines
    assert "check sharedMemory = 80Gi  (prefill, decode)" in lines
    reasons = {(entry["reason"], entry["source"]) for entry in entries}
    first, *_, last = text.split("\n\n")
    assert (first, len(text.split("\n\n"))) == ("default/llama-70b", len(reasons) + 2)
    assert "operator/src/disagg_operator/platforms" in last


def test_explain_shows_one_role() -> None:
    example = str(EXAMPLE.parents[1] / "04-efa/llama-70b.yaml")
    text = render("-f", example, "--explain", "--role", "decode").stdout
    assert "device vpc.amazonaws.com/efa = 32  (decode)" in text
    assert "device vpc.amazonaws.com/efa = 8  (prefill)" not in text


def rendered(*options: str) -> list[dict[str, Any]]:
    return list(json.loads(render("-f", str(EFA), "-o", "json", *options).stdout)["items"])


def test_each_object_is_of_one_role_or_of_the_deployment() -> None:
    parts = {role: rendered("--role", role) for role in ("deployment", "prefill", "decode", "frontend")}
    found = sorted(json.dumps(each, sort_keys=True) for part in parts.values() for each in part)
    assert found == sorted(json.dumps(each, sort_keys=True) for each in rendered())
    kinds = {role: {each["kind"] for each in part} for role, part in parts.items()}
    assert kinds["prefill"] == kinds["decode"] == {"PodDisruptionBudget", "StatefulSet"}
    assert kinds["frontend"] == {"Service", "Deployment"}
    assert "ConfigMap" in kinds["deployment"]


def test_short_leaves_out_programs_and_keeps_settings() -> None:
    (whole,) = [each["data"] for each in rendered() if each["kind"] == "ConfigMap"]
    (short,) = [each["data"] for each in rendered("--short") if each["kind"] == "ConfigMap"]
    program = "check_worker.py"
    assert short[program] == f"… {len(whole[program].splitlines())} lines of {program}"
    assert short["decode.engine.yaml"] == whole["decode.engine.yaml"]
    text = render("-f", str(EFA), "--short").stdout
    assert text.startswith("# Without programs, to be read:")
    assert not re.search(r"^ *(import|def) ", text, re.MULTILINE)


def test_options_that_do_not_go_together_are_refused() -> None:
    for options, remedy in (
        (("--needs", "--role", "decode"), "Leave --role out, or --needs"),
        (("--explain", "--short"), "--short is about manifests"),
    ):
        wrong = render("-f", str(EFA), *options)
        assert (wrong.exit_code, remedy in wrong.stderr) == (1, True)


def explanation(example: str) -> list[dict[str, Any]]:
    result = render("-f", str(EXAMPLE.parents[1] / example), "--explain", "-o", "json")
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found


def test_explain_tells_line_and_document_of_every_variable_device_and_setting_of_a_pod() -> None:
    example = "04-efa/llama-70b.yaml"
    entries = explanation(example)
    known = {(entry["kind"], entry["name"]): entry for entry in entries}
    assert known["variable", "FI_PROVIDER"]["components"] == ["prefill", "decode"]
    assert known["variable", "FI_PROVIDER"]["line"].startswith("fabrics/efa.yaml:")
    assert known["device", "vpc.amazonaws.com/efa"]["line"].startswith("machines/aws-p5.48xlarge.yaml:")
    assert known["transfer", "NIXL backend"]["value"] == "UCX"
    assert known["engine setting", "cache_transceiver_config.backend"]["value"] == '"NIXL"'
    kinds = {"image", "variable", "device", "resources", "mount", "security", "node label", "toleration"}
    assert {kind for kind, _ in known} >= kinds | {"placement", "transfer"}
    manifests = yaml.safe_load_all(render("-f", str(EXAMPLE.parents[1] / example)).stdout)
    for manifest in manifests:
        if manifest["kind"] in {"StatefulSet", "Deployment"}:
            pod = manifest["spec"]["template"]["spec"]
            container = pod["containers"][0]
            for variable in container["env"]:
                assert ("variable", variable["name"]) in known
            for device in container["resources"].get("limits", {}):
                assert ("device", device) in known
            for label in pod.get("nodeSelector", {}):
                assert ("node label", label) in known
            assert container["image"] in {entry["value"] for entry in entries if entry["kind"] == "image"}
    for entry in entries:
        assert entry["reason"]
        assert entry["source"]


def test_explain_lists_what_both_roles_share_once() -> None:
    entries = explanation("04-efa/llama-70b.yaml")
    assert [entry["name"] for entry in entries].count("FI_PROVIDER") == 1
    device = [e for e in entries if (e["kind"], e["name"]) == ("device", "vpc.amazonaws.com/efa")]
    counts = {tuple(entry["components"]): entry["value"] for entry in device}
    assert counts == {("prefill",): "8", ("decode",): "32"}


def test_manifests_as_json_are_a_list_that_kubectl_takes() -> None:
    found = json.loads(render("-f", str(EXAMPLE), "-o", "json").stdout)
    assert (found["apiVersion"], found["kind"]) == ("v1", "List")
    assert found["items"] == list(yaml.safe_load_all(render("-f", str(EXAMPLE)).stdout))
