"""Discovery: what is run for it, what waits for it, and what is told to Dynamo."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan, PodPlan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.programs import await_services
from disagg_operator.platforms.catalogue import builtin, services
from unit.deployments import deployment_of

OLD = ("0.4.1", "0.6.1", "0.7.1")
THREE = {"replicas": 3, "storage": {"size": "1Gi"}}
ROOT = Path(__file__).resolve().parents[3]


def planned(version: str = "1.6.1", installation: Installation | None = None, **spec: Any) -> Plan:
    resource = deployment_of(
        {
            "runtime": {"version": version, "image": "own:1"},
            "placement": {"nodeSelector": {"kubernetes.io/arch": "amd64"}},
            **spec,
        },
        namespace="ns",
        uid="u-1",
    )
    return plan(accept(resource), installation or Installation(worker_image="worker:test"))


def variables(pod: PodPlan) -> dict[str, str | None]:
    return {each.name: each.value for each in pod.environment}


def pods(result: Plan) -> list[PodPlan]:
    return [*(role.pod for role in result.roles.values()), result.frontend.pod]


def objects(result: Plan, kind: str) -> dict[str, Any]:
    return {
        each["metadata"]["name"]: each
        for each in [*shared_objects(result), *worker_objects(result)]
        if each["kind"] == kind
    }


def stateful_set(result: Plan, service: str) -> dict[str, Any]:
    (name,) = [each.name for each in result.discovery.services if each.kind == service]
    found: dict[str, Any] = objects(result, "StatefulSet")[name]
    return found


@pytest.mark.parametrize("version", OLD)
def test_seeds_000_and_003_etcd_and_nats_run_before_the_service_starts(version: str) -> None:
    result = planned(version)
    etcd, nats = result.discovery.services
    assert (etcd.kind, nats.kind) == ("etcd", "nats")
    kinds = [each["metadata"]["labels"]["disagg.dev/role"] for each in shared_objects(result)]
    assert kinds.index("etcd") < kinds.index("nats") < kinds.index("frontend"), "made first"
    for pod in pods(result):
        assert variables(pod)["ETCD_ENDPOINTS"] == etcd.url == f"http://{etcd.name}.ns.svc:2379"
        assert variables(pod)["NATS_SERVER"] == nats.url == f"nats://{nats.name}.ns.svc:4222"
        assert pod.gate is not None, "and waited for"
        assert pod.gate.command[-2:] == (f"etcd={etcd.url}", f"NATS={nats.url}")


@pytest.mark.parametrize("version", builtin().runtimes["dynamo"])
def test_what_a_release_does_not_need_is_not_run(version: str) -> None:
    result = planned(version)
    run = tuple(each.kind for each in result.discovery.services)
    assert run == (("etcd", "nats") if version in OLD else ("etcd",) if version in ("0.8.1", "0.9.1") else ())
    assert all((pod.gate is None) == (run == ()) for pod in pods(result))
    assert all(("NATS_SERVER" in variables(pod)) == ("nats" in run) for pod in pods(result))


def test_the_gate_is_an_init_container_of_frontend_and_workers_in_their_own_image() -> None:
    result = planned(discovery={"backend": "etcd"})
    workloads = [*objects(result, "StatefulSet").values(), *objects(result, "Deployment").values()]
    gated = [each["spec"]["template"]["spec"] for each in workloads if "await-services" in str(each)]
    assert len(gated) == 3
    for pod in gated:
        (gate,) = (each for each in pod["initContainers"] if each["name"] == "await-services")
        assert gate["image"] == "own:1"
        assert gate["command"][:2] == ["python3", "-c"]
        assert gate["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert gate["resources"]["requests"] == gate["resources"]["limits"]


def test_planes_go_through_nats_only_where_it_is_asked_for() -> None:
    direct = planned(discovery={"etcd": {}})
    through = planned(discovery={"etcd": {}, "nats": {"server": "nats://theirs:4222"}})
    for pod in pods(direct):
        found = variables(pod)
        assert (found["DYN_REQUEST_PLANE"], found["DYN_EVENT_PLANE"]) == ("tcp", "zmq")
        assert found["DYN_DISCOVERY_BACKEND"] == "etcd"
    for pod in pods(through):
        found = variables(pod)
        assert (found["DYN_REQUEST_PLANE"], found["DYN_EVENT_PLANE"]) == ("nats", "nats")
        assert found["NATS_SERVER"] == "nats://theirs:4222"


def test_existing_services_are_used_and_none_is_run() -> None:
    external = {"etcd": {"endpoints": ["http://a:2379", "http://b:2379"]}, "nats": {"server": "nats://n:1"}}
    result = planned("0.7.1", discovery=external)
    assert result.discovery.services == ()
    assert variables(result.frontend.pod)["ETCD_ENDPOINTS"] == "http://a:2379,http://b:2379"
    gate = result.frontend.pod.gate
    assert gate is not None
    assert gate.command[-2:] == ("etcd=http://a:2379,http://b:2379", "NATS=nats://n:1")


def test_another_service_is_another_revision_with_another_name() -> None:
    shapes: list[dict[str, Any]] = [
        {},
        {"storage": {"size": "1Gi"}},
        {"storage": {"size": "2Gi"}},
        {"storage": {"size": "1Gi", "storageClassName": "fast"}},
        THREE,
    ]
    results = [planned(discovery={"etcd": shape}) for shape in shapes]
    assert len({result.discovery.services[0].name for result in results}) == len(shapes)
    assert len({result.revision for result in results}) == len(shapes)
    assert planned(discovery={"etcd": {"image": "other:1"}}).revision == results[0].revision


def test_pods_of_two_services_of_one_sort_are_told_apart() -> None:
    one, other = (stateful_set(planned(discovery={"etcd": shape}), "etcd") for shape in ({}, THREE))
    wanted = one["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= one["spec"]["template"]["metadata"]["labels"].items()
    assert not wanted.items() <= other["spec"]["template"]["metadata"]["labels"].items()


def test_three_members_know_each_other_keep_data_and_are_evicted_one_by_one() -> None:
    result = planned(discovery={"etcd": THREE})
    found = stateful_set(result, "etcd")
    name, spec = found["metadata"]["name"], found["spec"]
    (flag,) = [
        word
        for word in spec["template"]["spec"]["containers"][0]["command"]
        if word.startswith("--initial-cluster=")
    ]
    members = flag.removeprefix("--initial-cluster=").split(",")
    assert members == [f"{name}-{n}=http://{name}-{n}.{name}-peers.ns.svc:2380" for n in range(3)]
    (claim,) = spec["volumeClaimTemplates"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "1Gi"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Delete"}
    assert spec["template"]["spec"]["volumes"] == []
    assert spec["template"]["spec"]["topologySpreadConstraints"]
    assert objects(result, "PodDisruptionBudget")[name]["spec"]["maxUnavailable"] == 1
    assert objects(result, "Service")[f"{name}-peers"]["spec"]["publishNotReadyAddresses"] is True
    assert "publishNotReadyAddresses" not in objects(result, "Service")[name]["spec"]


def test_one_member_has_no_budget_since_it_could_never_be_evicted() -> None:
    assert objects(planned(discovery={"etcd": {}}), "PodDisruptionBudget") == {}


def test_services_pass_the_restricted_standard_and_get_no_key_to_the_api() -> None:
    result = planned(discovery={"etcd": {}, "nats": {}})
    for service in ("etcd", "nats"):
        pod = stateful_set(result, service)["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert "serviceAccountName" not in pod
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_nats_stores_only_for_releases_that_use_jetstream() -> None:
    new = stateful_set(planned(discovery={"nats": {}}), "nats")["spec"]["template"]["spec"]
    assert "--jetstream" not in new["containers"][0]["command"]
    assert new["volumes"] == []
    old = stateful_set(planned("0.7.1"), "nats")["spec"]["template"]["spec"]
    assert {"--jetstream", "--store_dir=/data"} <= set(old["containers"][0]["command"])
    assert old["volumes"] == [{"name": "data", "emptyDir": {}}]
    with pytest.raises(Refusal, match=r"spec\.discovery\.nats\.storage: .* stores nothing in NATS"):
        planned(discovery={"nats": {"storage": {"size": "1Gi"}}})


def test_routes_of_nats_are_for_several_members() -> None:
    commands = [
        stateful_set(planned(discovery={"nats": {"replicas": count}}), "nats")["spec"]["template"]["spec"][
            "containers"
        ][0]["command"]
        for count in (1, 3)
    ]
    assert not [word for word in commands[0] if word.startswith("--routes")]
    (routes,) = [word for word in commands[1] if word.startswith("--routes")]
    assert routes.count("nats://") == 3


def test_the_user_names_an_image_before_the_installation_and_that_before_the_profile() -> None:
    own = Installation("worker:test", service_images={"etcd": "mirror/etcd:1"})
    spec: dict[str, Any] = {"discovery": {"etcd": {}, "nats": {"image": "mine/nats:2"}}}
    images = [each.pod.image for each in planned(installation=own, **spec).discovery.services]
    assert images == ["mirror/etcd:1", "mine/nats:2"]
    (etcd, _) = planned(**spec).discovery.services
    assert etcd.pod.image == services()["etcd"].image.value


def test_images_and_the_gate_say_why() -> None:
    told = {(each.components[0], each.kind): each for each in explained(planned("0.7.1"))}
    for service in ("etcd", "nats"):
        assert told[service, "image"].line.startswith(f"services/{service}.yaml:")
    gate = told["prefill", "gate"]
    assert gate.components == ("prefill", "decode", "frontend")
    assert "must run before" in gate.reason


def test_kubernetes_rights_are_handed_out_only_where_workers_register_there() -> None:
    assert objects(planned(), "RoleBinding")
    assert not objects(planned(discovery={"backend": "etcd"}), "RoleBinding")


def test_the_tests_run_the_versions_that_the_profiles_name() -> None:
    go_mod = (ROOT / "tests/cluster/services/go.mod").read_text()
    for service, module in (
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("nats", "github.com/nats-io/nats-server/v2"),
    ):
        version = services()[service].image.value.rpartition(":")[2].removesuffix("-alpine").removeprefix("v")
        assert f"\t{module} v{version}\n" in go_mod


def test_the_chart_names_the_variables_that_hold_images() -> None:
    template = (ROOT / "charts/disagg-operator/templates/_env.tpl").read_text()
    values = yaml.safe_load((ROOT / "charts/disagg-operator/values.yaml").read_text())
    for service in ("etcd", "nats"):
        assert f"- name: DISAGG_{service.upper()}_IMAGE\n" in template
        assert values["discovery"][service]["image"] == ""


class _Etcd(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/health" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Write nothing."""


class _Sick(_Etcd):
    status = 503


class _Nats(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b'INFO {"server_id":"x"} \r\n')


class _Silent(BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(b"HELLO")


@contextmanager
def serving(server: TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_the_gate_lets_through_once_all_services_answer() -> None:
    with (
        serving(HTTPServer(("127.0.0.1", 0), _Etcd)) as etcd,
        serving(TCPServer(("127.0.0.1", 0), _Nats)) as nats,
    ):
        await_services.main(
            "0", f"etcd=http://127.0.0.1:1,http://127.0.0.1:{etcd}", f"NATS=nats://127.0.0.1:{nats}"
        )


@pytest.mark.parametrize(
    ("server", "url", "told"),
    [
        (HTTPServer, "http", "/health answers 503"),
        (TCPServer, "nats", "it is no NATS server"),
    ],
)
def test_the_gate_ends_with_what_is_wrong(server: type[TCPServer], url: str, told: str) -> None:
    handler = _Sick if server is HTTPServer else _Silent
    with serving(server(("127.0.0.1", 0), handler)) as port, pytest.raises(SystemExit, match=told):
        await_services.main("0", f"x={url}://127.0.0.1:{port}")


def test_the_gate_ends_with_what_does_not_answer() -> None:
    with pytest.raises(SystemExit, match=r"etcd does not answer at http://127\.0\.0\.1:1: .*refused"):
        await_services.main("0", "etcd=http://127.0.0.1:1")
