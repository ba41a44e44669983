"""The chart against a real API server: manifests are accepted, CRDs have one owner, few rights suffice.

The API server is this module's own, since CustomResourceDefinitions belong to a whole cluster.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from chart import published
from chart.helm import CHART, IMAGES, MONITORING, Helm, HelmError, Object, of_kind, settings
from testcluster.fixtures import private_apiserver
from testcluster.kubectl import Kubectl

pytestmark = pytest.mark.apiserver

OURS = "disaggdeployments.disagg.dev"
SCALERS = "disaggscalers.disagg.dev"
DYNAMO = "dynamoworkermetadatas.nvidia.com"
SET_IMAGES = settings(**IMAGES)
PUBLISHED = {crd["metadata"]["name"]: crd for crd in published.definitions()}
"""Definitions of other projects, which the API server has throughout."""
FOREIGN_GROUPS = {crd["spec"]["group"] for crd in PUBLISHED.values()}
SCALED = CHART.parents[1] / "examples" / "10-autoscaling"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(frozen=True)
class Server:
    """A real API server, and the two programs to talk to it with."""

    helm: Helm
    kubectl_binary: str

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl and return its output, errors included in the failure."""
        done = subprocess.run(
            [self.kubectl_binary, f"--kubeconfig={self.helm.kubeconfig}", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=150,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def crds(self) -> dict[str, Object]:
        """Return the CustomResourceDefinitions that the chart can have made by name."""
        found = json.loads(self.kubectl("get", "crd", "--output=json"))["items"]
        named = {crd["metadata"]["name"]: crd for crd in found}
        return {name: crd for name, crd in named.items() if name not in PUBLISHED}

    def staying(self) -> set[str]:
        """Return the names of the CustomResourceDefinitions that nobody has deleted.

        The API server looks for objects of one that goes, at times for minutes; here there are none.
        """
        return {name for name, crd in self.crds().items() if "deletionTimestamp" not in crd["metadata"]}

    def define(self, crds: list[Object]) -> None:
        """Apply CustomResourceDefinitions and wait until they are served."""
        self.client.apply(crds)
        self.await_served(*(crd["metadata"]["name"] for crd in crds))

    def await_served(self, *names: str) -> None:
        """Wait until CustomResourceDefinitions are served."""
        self.client.await_served(*(f"crd/{name}" for name in names))

    @property
    def client(self) -> Kubectl:
        """The kubectl that waits for what the API server does."""
        assert self.helm.kubeconfig
        return Kubectl(self.kubectl_binary, self.helm.kubeconfig)

    def try_out(self, objects: list[Object]) -> None:
        """Have objects judged, down to fields that are not known, and not kept."""
        strictly = ("--server-side", "--dry-run=server", "--validate=strict")
        self.kubectl("apply", *strictly, "--filename=-", stdin=yaml.safe_dump_all(objects))

    def namespace(self, name: str) -> str:
        """Make a namespace that admits restricted pods only, if it is not there."""
        made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": RESTRICTED}}
        self.kubectl("apply", "--filename=-", stdin=json.dumps(made))
        return name


@pytest.fixture(scope="module")
def server(helm: Helm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An API server of this module's own."""
    with private_apiserver(tmp_path_factory.mktemp("chart-apiserver")) as running:
        served = Server(replace(helm, kubeconfig=running.kubeconfig), running.tools.path("kubectl"))
        served.define([*PUBLISHED.values()])
        yield served


@pytest.fixture(autouse=True)
def clean(server: Server) -> Iterator[None]:
    """Leave no release and no CustomResourceDefinition behind."""
    yield
    for release in json.loads(server.helm("list", "--all-namespaces", "--output=json")):
        server.helm("uninstall", release["name"], "--namespace", release["namespace"])
    if kept := server.staying():
        server.kubectl("delete", "crd", *kept, "--wait=false")
    until = time.monotonic() + 5
    while (left := server.crds()) and time.monotonic() < until:
        time.sleep(0.2)
    for name in left:
        finished: Object = {"metadata": {"finalizers": []}}
        with suppress(AssertionError):  # it is gone
            server.kubectl("patch", "crd", name, "--type=merge", f"--patch={json.dumps(finished)}")
    assert server.crds() == {}


def test_the_api_server_accepts_every_manifest_in_a_restricted_namespace(
    server: Server, ci_values: Path
) -> None:
    for name in ("disagg-system", "team-a", "team-b"):
        server.namespace(name)
    objects = server.helm.render("--values", ci_values, "--api-versions", MONITORING)
    template = of_kind(objects, "Deployment")[0]["spec"]["template"]
    # A Deployment is admitted even if its pods are not; so the pod itself is tried too.
    pod = {
        **template,
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**template["metadata"], "name": "tried", "namespace": "disagg-system"},
        "spec": {**template["spec"], "serviceAccountName": "default"},
    }
    tests = [
        {**found, "spec": {**found["spec"], "serviceAccountName": "default"}}
        for found in of_kind(objects, "Pod")
    ]
    others = [found for found in objects if found["kind"] != "Pod"]
    server.try_out([*others, *tests, pod])


def test_it_accepts_all_kinds_of_monitors_and_issuers(server: Server) -> None:
    server.namespace("disagg-system")
    optional = ("podMonitor", "serviceMonitor", "prometheusRule", "webhook", "webhook.certManager")
    chosen = settings(**IMAGES, **{f"{name}.enabled": True for name in optional})
    objects = server.helm.render(*chosen, "--api-versions", MONITORING)
    foreign = [found for found in objects if found["apiVersion"].split("/")[0] in FOREIGN_GROUPS]
    assert {found["kind"] for found in foreign} == {
        *("Certificate", "Issuer", "PodMonitor", "ServiceMonitor", "PrometheusRule")
    }
    server.try_out(foreign)


def test_it_accepts_what_scales_the_example(server: Server) -> None:
    server.define(of_kind(server.helm.render(*SET_IMAGES), "CustomResourceDefinition"))
    hpa = [*yaml.safe_load_all((SCALED / "smollm2.yaml").read_text())]
    assert [found["kind"] for found in hpa] == ["DisaggDeployment", "HorizontalPodAutoscaler"]
    (scaled,) = yaml.safe_load_all((SCALED / "keda" / "smollm2-decode.yaml").read_text())
    server.try_out([*hpa, scaled])
    scaled["spec"]["maxReplicas"] = scaled["spec"].pop("maxReplicaCount")
    with pytest.raises(AssertionError, match=r"spec\.maxReplicas: field not declared in schema"):
        server.try_out([scaled])


@pytest.mark.parametrize("keep", [True, False])
def test_crds_stay_after_uninstall_only_if_kept(server: Server, keep: bool) -> None:
    namespace = server.namespace("disagg-system")
    server.helm("install", "one", CHART, "--namespace", namespace, *SET_IMAGES, *settings(crds__keep=keep))
    assert set(server.crds()) == {OURS, SCALERS, DYNAMO}
    server.helm("uninstall", "one", "--namespace", namespace)
    assert server.staying() == ({OURS, SCALERS, DYNAMO} if keep else set())


def test_an_upgrade_leaves_the_crds_and_their_objects(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    server.helm("install", "one", CHART, "--namespace", namespace, *SET_IMAGES)
    before = {name: crd["metadata"]["uid"] for name, crd in server.crds().items()}
    server.helm(
        "upgrade", "one", CHART, "--namespace", namespace, *SET_IMAGES, *settings(logging__level="debug")
    )
    assert {name: crd["metadata"]["uid"] for name, crd in server.crds().items()} == before


def test_an_upgrade_brings_definitions_that_are_newer_and_keeps_what_is_stored(
    server: Server, tmp_path: Path
) -> None:
    """Not with `crds.enabled: false`: then they are somebody else's to upgrade."""
    namespace = server.namespace("disagg-system")
    older = tmp_path / "chart"
    shutil.copytree(CHART, older)
    template = older / "templates" / "crds" / "disagg.dev_disaggscalers.yaml"
    template.write_text(template.read_text().replace("shortNames: [dsc]", "shortNames: [older]"))
    server.helm("install", "one", older, "--namespace", namespace, *SET_IMAGES)
    scaler = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggScaler",
        "metadata": {"name": "stored", "namespace": namespace},
        "spec": {"replicas": 3},
    }
    server.await_served(SCALERS)
    server.kubectl("apply", "--filename=-", stdin=json.dumps(scaler))

    def upgraded(*values: str) -> list[str]:
        server.helm("upgrade", "one", CHART, "--namespace", namespace, *SET_IMAGES, *values)
        names: list[str] = server.crds()[SCALERS]["spec"]["names"]["shortNames"]
        return names

    assert upgraded(*settings(crds__enabled=False)) == ["older"]
    assert upgraded(*settings(crds__enabled=True)) == ["dsc"]
    stored = json.loads(server.kubectl("get", SCALERS, "stored", f"--namespace={namespace}", "--output=json"))
    assert stored["spec"] == {"replicas": 3}


def test_a_release_of_helm_3_is_upgraded_by_it_and_then_by_helm_4(server: Server, helm3: Helm) -> None:
    namespace = server.namespace("disagg-system")
    older = replace(helm3, kubeconfig=server.helm.kubeconfig)
    older("install", "one", CHART, "--namespace", namespace, *SET_IMAGES)
    before = {name: crd["metadata"]["uid"] for name, crd in server.crds().items()}
    for helm, level in ((older, "debug"), (server.helm, "warning")):
        level_set = settings(logging__level=level)
        helm("upgrade", "one", CHART, "--namespace", namespace, *SET_IMAGES, *level_set)
        deployment = server.kubectl(
            "get", "deployment", "--namespace", namespace, "--output=jsonpath={.items[*].spec.template.spec}"
        )
        assert f'{{"name":"DISAGG_LOG_LEVEL","value":"{level}"}}' in deployment
    assert {name: crd["metadata"]["uid"] for name, crd in server.crds().items()} == before


def test_an_older_chart_is_refused_until_the_newer_definitions_are_let_go(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    server.helm("install", "one", CHART, "--namespace", namespace, *SET_IMAGES)
    upgrade: tuple[str | Path, ...] = ("upgrade", "one", CHART, "--namespace", namespace, *SET_IMAGES)
    server.helm(*upgrade)
    newer = "disagg.dev/chart-version=99.0.0-rc.1"
    server.kubectl("annotate", "crd", OURS, newer, "--overwrite")
    with pytest.raises(HelmError, match=f"has the definition {OURS} of version 99.0.0-rc.1") as refused:
        server.helm(*upgrade)
    remedy = f"kubectl annotate crd {OURS} disagg.dev/chart-version-"
    assert remedy in str(refused.value)
    assert server.crds()[OURS]["metadata"]["annotations"]["disagg.dev/chart-version"] == "99.0.0-rc.1"
    server.kubectl(*remedy.split()[1:])
    server.helm(*upgrade)


def test_kept_crds_are_taken_up_again_by_the_same_release(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    for _ in range(2):
        server.helm("install", "one", CHART, "--namespace", namespace, *SET_IMAGES)
        server.helm("uninstall", "one", "--namespace", namespace, "--wait")
    assert set(server.crds()) == {OURS, SCALERS, DYNAMO}


def test_a_release_of_another_name_takes_kept_crds_over_when_told_to(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    server.helm("install", "one", CHART, "--namespace", namespace, *SET_IMAGES)
    server.helm("uninstall", "one", "--namespace", namespace, "--wait")
    with pytest.raises(HelmError, match="invalid ownership metadata"):
        server.helm("install", "two", CHART, "--namespace", namespace, *SET_IMAGES)
    server.helm("install", "two", CHART, "--namespace", namespace, "--take-ownership", *SET_IMAGES)
    assert server.crds()[OURS]["metadata"]["annotations"]["meta.helm.sh/release-name"] == "two"


def test_a_dynamo_crd_of_somebody_else_is_left_alone(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    rendered = server.helm.render(*SET_IMAGES)
    (theirs,) = [found for found in rendered if found["metadata"]["name"] == DYNAMO]
    theirs["metadata"] = {"name": DYNAMO, "labels": {"owner": "dynamo-platform"}}
    server.kubectl("apply", "--server-side", "--filename=-", stdin=json.dumps(theirs))
    before = server.crds()[DYNAMO]["metadata"]
    for command in (("install",), ("upgrade", *settings(logging__level="debug"))):
        server.helm(command[0], "one", CHART, "--namespace", namespace, *SET_IMAGES, *command[1:])
    server.helm("uninstall", "one", "--namespace", namespace, "--wait")
    after = server.crds()[DYNAMO]["metadata"]
    assert (after["uid"], after["labels"]) == (before["uid"], before["labels"])
    assert "meta.helm.sh/release-name" not in after.get("annotations", {})


def test_two_operators_for_the_whole_cluster_are_refused(server: Server) -> None:
    first, second = server.namespace("disagg-system"), server.namespace("team-a")
    server.helm("install", "one", CHART, "--namespace", first, *SET_IMAGES)
    with pytest.raises(
        HelmError, match='Release "one" in namespace "disagg-system" already serves the whole'
    ):
        server.helm(
            "install", "two", CHART, "--namespace", second, *SET_IMAGES, *settings(crds__enabled=False)
        )


def test_missing_crds_are_noticed_before_anything_is_installed(server: Server) -> None:
    namespace = server.namespace("disagg-system")
    with pytest.raises(HelmError, match="does not know the kind DisaggDeployment"):
        server.helm(
            "install", "one", CHART, "--namespace", namespace, *SET_IMAGES, *settings(crds__enabled=False)
        )


def test_the_administrator_of_one_namespace_can_install(server: Server) -> None:
    """Without any cluster-wide right, once the CustomResourceDefinitions are there."""
    namespace = server.namespace("team-a")
    server.define(of_kind(server.helm.render(*SET_IMAGES), "CustomResourceDefinition"))
    rights = [
        # An administrator cannot give away what she does not hold.
        {"apiGroups": ["disagg.dev"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["nvidia.com"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["events.k8s.io", "", "apps", "policy"], "resources": ["*"], "verbs": ["*"]},
        {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["*"]},
        {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"], "verbs": ["*"]},
    ]
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "team-admin", "namespace": namespace},
        "rules": rights,
    }
    server.kubectl("apply", "--filename=-", stdin=json.dumps(role))
    server.kubectl(
        "create", "rolebinding", "alice", "--role=team-admin", "--user=alice", f"--namespace={namespace}"
    )
    server.helm(
        *("install", "mine", CHART, "--namespace", namespace, "--kube-as-user", "alice"),
        *SET_IMAGES,
        *settings(watch__namespaces=[namespace], crds__enabled=False, dynamo__crd__enabled=False),
    )


def test_an_upgrade_renews_a_certificate_that_is_due_and_the_api_server_trusts_both_authorities(
    server: Server,
) -> None:
    server.namespace("disagg-system")
    webhook = settings(webhook__enabled=True)
    made: tuple[str | Path, ...] = ("disagg", CHART, "--namespace", "disagg-system", *SET_IMAGES, *webhook)
    name = "disagg-disagg-operator-webhook"

    def secret() -> Object:
        found: Object = json.loads(
            server.kubectl("get", "secret", name, "--namespace=disagg-system", "--output=json")
        )
        return found

    def bundle() -> list[str]:
        found = json.loads(
            server.kubectl("get", "validatingwebhookconfiguration", f"{name}-disagg-system", "--output=json")
        )
        text = base64.b64decode(found["webhooks"][0]["clientConfig"]["caBundle"]).decode()
        return [part.strip() for part in text.split("-----END CERTIFICATE-----") if part.strip()]

    server.helm("install", *made)
    first, (authority,) = secret(), bundle()
    server.helm("upgrade", *made)
    assert secret()["data"] == first["data"], "not due yet"
    for annotation, more in (("renew-after=0", ["--force-conflicts"]), ("renew=again", [])):
        before = bundle()[0]
        annotate = ("annotate", "secret", name, "--namespace=disagg-system", "--overwrite")
        server.kubectl(*annotate, f"disagg.dev/{annotation}")
        for _ in range(2):
            server.helm("upgrade", *made, *more)
        newest, kept = bundle()
        assert kept == before
        assert newest != before
    assert authority not in bundle(), "an authority goes with the second change after it"
    renewed = secret()
    assert renewed["data"]["tls.crt"] != first["data"]["tls.crt"]
    assert int(renewed["metadata"]["annotations"]["disagg.dev/renew-after"]) > time.time()
