"""What the chart renders: a snapshot, and what must hold with any values."""

import json
import os
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from chart.helm import CHART, IMAGES, MONITORING, NAMESPACE, RELEASE, Helm, Object, of_kind, settings, the
from disagg_operator.cli.main import app
from disagg_operator.plan import names
from disagg_operator.plan.installation import HostAccess
from disagg_operator.runtime.settings import from_environment

GOLDEN = Path(__file__).parent / "golden" / "production.yaml"
ROOT = CHART.parents[1]


@pytest.fixture
def rendered(helm: Helm, ci_values: Path) -> list[Object]:
    """Objects rendered with one of the values files."""
    return helm.render("--values", ci_values, "--api-versions", MONITORING)


def pods(objects: list[Object]) -> list[Object]:
    """Return the pod specifications among objects."""
    return [
        *(found["spec"]["template"]["spec"] for found in of_kind(objects, "Deployment")),
        *(found["spec"] for found in of_kind(objects, "Pod")),
    ]


def test_the_manifests_are_those_that_were_reviewed(helm: Helm) -> None:
    text = helm(
        *("template", RELEASE, CHART, "--namespace", NAMESPACE, "--api-versions", MONITORING),
        *("--values", CHART / "ci" / "production-values.yaml", "--set", "crds.enabled=false"),
    )
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "rendered otherwise: review, then run again with UPDATE_GOLDEN=1"


def test_pods_pass_the_restricted_pod_security_standard(rendered: list[Object]) -> None:
    specs = pods(rendered)
    assert len(specs) >= 2
    for spec in specs:
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
        known = {"name", "emptyDir", "secret", "configMap"}
        assert all(set(volume) <= known for volume in spec.get("volumes", []))
        for container in spec["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert not {"privileged", "runAsUser"} & set(context)
            assert all("hostPort" not in port for port in container.get("ports", []))


@pytest.mark.parametrize("name", [RELEASE, f"{RELEASE}-webhook"])
def test_profiles_among_the_values_are_those_that_the_operator_loads(
    helm: Helm, tmp_path: Path, name: str
) -> None:
    enabled = "--set-json=webhook.enabled=true"
    objects = helm.render("--values", CHART / "ci" / "production-values.yaml", enabled)
    spec = the(objects, "Deployment", name)["spec"]["template"]["spec"]
    (volume,) = [volume for volume in spec["volumes"] if "configMap" in volume]
    data = the(objects, "ConfigMap", volume["configMap"]["name"])["data"]
    for item in volume["configMap"]["items"]:
        file = tmp_path / item["path"]
        file.parent.mkdir(exist_ok=True)
        file.write_text(data[item["key"]])
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    assert variables["DISAGG_PLATFORMS"] == mount["mountPath"]
    settings = from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_PLATFORMS": str(tmp_path)})
    catalogue = settings.installation().catalogue
    assert [device.name for device in catalogue.machine("lab").devices] == ["rdma/hca_shared"]
    assert catalogue.machine("lab").fabrics == ("campus",)


def test_a_change_of_profiles_restarts_the_operator(helm: Helm) -> None:
    def template(machines: Object) -> Object:
        objects = helm.render(*settings(**{**IMAGES, "platforms.machines": machines}))
        found: Object = the(objects, "Deployment")["spec"]["template"]
        return found

    assert template({}) == template({})
    assert template({"lab": {"like": "roce"}}) != template({"lab": {"like": "infiniband"}})


def test_what_is_set_for_pods_holds_for_those_of_all_components(helm: Helm) -> None:
    secrets = [{"name": "mirror"}]
    wanted = {
        "priorityClassName": "system-cluster-critical",
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "system", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    }
    objects = helm.render(
        *settings(**IMAGES, **wanted, **{"global.imagePullSecrets": secrets, "webhook.enabled": True})
    )
    deployments = [found["spec"]["template"]["spec"] for found in of_kind(objects, "Deployment")]
    assert len(deployments) == 2
    for spec in deployments:
        assert {name: spec[name] for name in wanted} == wanted
    assert [spec["imagePullSecrets"] for spec in pods(objects)] == [secrets] * 3


def test_pods_of_a_component_are_spread_over_nodes(helm: Helm) -> None:
    def spread(**values: object) -> dict[str, list[Object]]:
        """Return the constraints of each component, which are about its own pods."""
        found = {}
        for deployment in of_kind(
            helm.render(*settings(**IMAGES, webhook__enabled=True, **values)), "Deployment"
        ):
            template = deployment["spec"]["template"]
            labels, constraints = (
                template["metadata"]["labels"],
                template["spec"]["topologySpreadConstraints"],
            )
            component = labels["app.kubernetes.io/component"]
            for each in constraints:
                selected = each.pop("labelSelector")["matchLabels"]
                assert selected.items() <= labels.items()
                assert selected["app.kubernetes.io/component"] == component
            found[component] = constraints
        return found

    def over(key: str, when: str) -> Object:
        return {"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when}

    nodes = [over("kubernetes.io/hostname", "ScheduleAnyway")]
    assert spread() == {"operator": nodes, "webhook": nodes}
    zones = [over("topology.kubernetes.io/zone", "DoNotSchedule"), *nodes]
    assert spread(topologySpreadConstraints=zones) == {"operator": zones, "webhook": zones}


def test_people_read_and_write_by_the_roles_of_the_cluster_what_is_theirs(helm: Helm) -> None:
    """Whoever may view, edit or administer a namespace may do that with our kinds, but for their status."""
    objects = helm.render(*settings(**IMAGES))
    granted: dict[str, set[tuple[str, str]]] = {}
    for role in of_kind(objects, "ClusterRole"):
        pairs = {
            (each, verb)
            for rule in role["rules"]
            for each in rule.get("resources", ())
            for verb in rule["verbs"]
        }
        for label, value in role["metadata"]["labels"].items():
            if label.startswith("rbac.authorization.k8s.io/aggregate-to-") and value == "true":
                granted.setdefault(label.rpartition("-")[2], set()).update(pairs)
    plurals = {
        yaml.safe_load(path.read_text())["spec"]["names"]["plural"] for path in (ROOT / "crds").glob("*.yaml")
    }
    assert granted["edit"] == granted["admin"]
    assert {verb for _, verb in granted["view"]} == {"get", "list", "watch"}
    assert {(each, verb) for each in plurals for verb in ("get", "list", "watch")} <= granted["view"]
    written = granted["edit"] - granted["view"]
    assert {("disaggdeployments", verb) for verb in ("create", "update", "patch", "delete")} <= written
    assert {("disaggscalers/scale", verb) for verb in ("update", "patch")} <= written
    assert not any(each.endswith("/status") for each, _ in written)
    assert {each.partition("/")[0] for each, _ in written} == plurals


@pytest.mark.parametrize(
    "values",
    [{"rbac.aggregateToDefaultRoles": False}, {"rbac.create": False}, {"watch.namespaces": ["a"]}],
    ids=str,
)
def test_the_roles_of_the_cluster_stay_as_they_are_where_that_is_wanted(
    helm: Helm, values: dict[str, object]
) -> None:
    assert "aggregate-to" not in str(helm.render(*settings(**IMAGES, **values)))


def test_every_object_carries_the_labels_of_the_release(rendered: list[Object]) -> None:
    for found in rendered:
        labels = found["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE, found["kind"]
        assert labels["app.kubernetes.io/part-of"] == "disagg-operator", found["kind"]


def selectors_of(objects: list[Object], name: str) -> list[Object]:
    """Return the selectors of the objects of one name."""
    named = [found for found in objects if found["metadata"]["name"] == name]
    return [
        *(found["spec"]["selector"] for found in of_kind(named, "Service")),
        *(found["spec"]["podSelector"]["matchLabels"] for found in of_kind(named, "NetworkPolicy")),
        *(found["spec"]["selector"]["matchLabels"] for found in of_kind(named, "PodDisruptionBudget")),
    ]


def test_selectors_select_the_pods_of_their_component_only(rendered: list[Object]) -> None:
    tested = the(rendered, "Pod", f"{RELEASE}-test")["metadata"]["labels"]
    deployments = {found["metadata"]["name"]: found for found in of_kind(rendered, "Deployment")}
    for name, deployment in deployments.items():
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        others = [
            found["spec"]["template"]["metadata"]["labels"]
            for other, found in deployments.items()
            if other != name
        ]
        for selector in selectors_of(rendered, name):
            assert selector.items() <= labels.items()
            assert not any(selector.items() <= each.items() for each in (*others, tested))


def test_namespaced_mode_has_no_permission_outside_its_namespaces(helm: Helm) -> None:
    objects = helm.render("--values", CHART / "ci" / "namespaced-values.yaml")
    assert not of_kind(objects, "ClusterRole")
    assert not of_kind(objects, "ClusterRoleBinding")
    watched = {"team-a", "team-b"}
    roles = {
        (found["metadata"]["namespace"], found["metadata"]["name"]) for found in of_kind(objects, "Role")
    }
    names = {RELEASE, f"{RELEASE}-discovery"}
    assert roles == {(ns, name) for ns in watched for name in names} | {(NAMESPACE, f"{RELEASE}-lease")}
    assert environment(objects)["DISAGG_NAMESPACES"] == "team-a,team-b"
    assert environment(objects)["DISAGG_DISCOVERY_ROLE_KIND"] == "Role"
    assert environment(objects)["DISAGG_PREFLIGHT_NODES"] == "false"


@pytest.mark.parametrize("values", ["minimal", "namespaced"])
@pytest.mark.parametrize("enabled", [True, False])
def test_compute_domains_are_made_where_that_is_wanted_and_the_operator_knows(
    helm: Helm, values: str, enabled: bool
) -> None:
    chosen = settings(computeDomain__enabled=enabled)
    objects = helm.render("--values", CHART / "ci" / f"{values}-values.yaml", *chosen)
    assert environment(objects)["DISAGG_COMPUTE_DOMAINS"] == str(enabled).lower()
    roles = [*of_kind(objects, "ClusterRole"), *of_kind(objects, "Role")]
    (operator, *_) = [role for role in roles if role["metadata"]["name"] == RELEASE]
    verbs = {
        (rule["apiGroups"][0], resource, verb)
        for rule in operator["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        if rule["apiGroups"][0].startswith("resource.")
    }
    named = {("resource.k8s.io", f"resource{claims}", "get") for claims in ("claims", "claimtemplates")}
    made = {
        ("resource.nvidia.com", "computedomains", verb)
        for verb in ("get", "list", "watch", "create", "patch", "delete")
    }
    watched = {("resource.k8s.io", "resourceclaimtemplates", verb) for verb in ("list", "watch")}
    classes = {("resource.k8s.io", "deviceclasses", verb) for verb in ("list", "watch")}
    assert verbs - classes == named | (made | watched if enabled else set())


@pytest.mark.parametrize(
    ("values", "given", "allowed"),
    [
        ("minimal", None, True),
        ("minimal", False, False),
        ("namespaced", None, False),
        ("namespaced", True, True),
    ],
)
def test_the_cluster_is_read_where_that_is_wanted_and_the_operator_knows(
    helm: Helm, values: str, given: bool | None, allowed: bool
) -> None:
    chosen = settings(preflight__nodes=given) if given is not None else ()
    objects = helm.render("--values", CHART / "ci" / f"{values}-values.yaml", *chosen)
    assert environment(objects)["DISAGG_PREFLIGHT_NODES"] == str(allowed).lower()
    rules = [rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]]
    verbs = {
        resource: rule["verbs"]
        for rule in rules
        for resource in rule["resources"]
        if resource in ("nodes", "namespaces", "deviceclasses")
    }
    read = ("nodes", "namespaces", "deviceclasses") if allowed else ()
    assert verbs == {resource: ["list", "watch"] for resource in read}
    bound = {binding["roleRef"]["name"] for binding in of_kind(objects, "ClusterRoleBinding")}
    assert bool(bound) is (allowed or values == "minimal")


def test_a_release_can_be_made_without_any_cluster_scoped_object(helm: Helm) -> None:
    objects = helm.render(
        *("--values", CHART / "ci" / "namespaced-values.yaml"),
        *settings(crds__enabled=False, dynamo__crd__enabled=False),
    )
    assert all("namespace" in found["metadata"] for found in objects)


def test_bind_is_limited_to_the_role_of_the_workers(rendered: list[Object]) -> None:
    roles = [*of_kind(rendered, "ClusterRole"), *of_kind(rendered, "Role")]
    binds = [rule for role in roles for rule in role["rules"] if "bind" in rule["verbs"]]
    assert binds
    for rule in binds:
        assert rule["resourceNames"] == [f"{RELEASE}-discovery"]
    assert {rule["resources"][0] for rule in binds} == {
        environment(rendered)["DISAGG_DISCOVERY_ROLE_KIND"].lower() + "s"
    }


def test_no_permission_is_a_wildcard_or_reads_secrets(rendered: list[Object]) -> None:
    for role in [*of_kind(rendered, "ClusterRole"), *of_kind(rendered, "Role")]:
        for rule in role["rules"]:
            assert "*" not in [*rule["verbs"], *rule["resources"], *rule["apiGroups"]]
            assert "secrets" not in rule["resources"] or rule["verbs"] == ["create"]


def test_no_permission_lets_the_operator_become_somebody_else(rendered: list[Object]) -> None:
    for role in [*of_kind(rendered, "ClusterRole"), *of_kind(rendered, "Role")]:
        for rule in role["rules"]:
            assert not {"escalate", "impersonate", "approve", "sign"} & set(rule["verbs"])
            assert not {"pods/exec", "pods/attach", "pods/proxy", "serviceaccounts/token"} & set(
                rule["resources"]
            )
            assert not {"roles", "clusterroles"} & set(rule["resources"]) or rule["verbs"] == ["bind"]


@pytest.mark.parametrize("name", [RELEASE, f"{RELEASE}-webhook"])
def test_operator_and_webhook_judge_alike_what_resources_may_ask_of_nodes(helm: Helm, name: str) -> None:
    def host(**values: object) -> HostAccess:
        objects = helm.render(*settings(**IMAGES, webhook__enabled=True, **values))
        (container,) = the(objects, "Deployment", name)["spec"]["template"]["spec"]["containers"]
        return (
            from_environment({each["name"]: each["value"] for each in container["env"] if "value" in each})
            .installation()
            .host
        )

    assert host() == HostAccess(limited=True)
    assert host(tenants__hostAccess="PodSecurity") == HostAccess(limited=False)
    assert host(tenants__hostPaths=["/mnt/a", "/b"]) == HostAccess(limited=True, paths=("/mnt/a", "/b"))


def test_a_single_operator_has_no_disruption_budget(default_render: list[Object]) -> None:
    assert not of_kind(default_render, "PodDisruptionBudget")


def test_monitors_wait_for_the_prometheus_operator(helm: Helm) -> None:
    values = CHART / "ci" / "production-values.yaml"
    assert not of_kind(helm.render("--values", values), "PodMonitor")
    assert len(of_kind(helm.render("--values", values, "--api-versions", MONITORING), "PodMonitor")) == 3


def test_the_operators_own_labels_win_over_those_of_its_pod(helm: Helm) -> None:
    """Its gauges of deployments name their namespace, and alerts are about that."""
    for chosen in (settings(podMonitor__enabled=True), settings(serviceMonitor__enabled=True)):
        objects = helm.render(*settings(**IMAGES), *chosen, "--api-versions", MONITORING)
        (monitor,) = [
            each
            for each in objects
            if each["kind"] in ("PodMonitor", "ServiceMonitor") and each["metadata"]["name"] == RELEASE
        ]
        (endpoint,) = monitor["spec"].get("endpoints") or monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["honorLabels"] is True


def test_service_monitors_take_the_place_of_pod_monitors_where_there_is_a_service(helm: Helm) -> None:
    chosen = ("--values", CHART / "ci" / "production-values.yaml", "--api-versions", MONITORING)
    labels = {"release": "kps"}
    objects = helm.render(*chosen, *settings(serviceMonitor={"enabled": True, "labels": labels}))
    (workers,) = of_kind(objects, "PodMonitor")
    assert workers["metadata"]["name"] == f"{RELEASE}-workers"
    monitors = of_kind(objects, "ServiceMonitor")
    assert [each["metadata"]["name"] for each in monitors] == [RELEASE, f"{RELEASE}-webhook"]
    for monitor in monitors:
        assert labels.items() <= monitor["metadata"]["labels"].items()
        (service,) = [
            each
            for each in of_kind(objects, "Service")
            if monitor["spec"]["selector"]["matchLabels"].items() <= each["metadata"]["labels"].items()
        ]
        (endpoint,) = monitor["spec"]["endpoints"]
        assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    assert not of_kind(helm.render(*settings(**IMAGES, serviceMonitor__enabled=True)), "ServiceMonitor")


@pytest.mark.parametrize(("policy", "severity"), [("Fail", "critical"), ("Ignore", "warning")])
def test_an_alert_comes_before_the_certificate_of_the_webhook_ends(
    helm: Helm, policy: str, severity: str
) -> None:
    chosen = ("--values", CHART / "ci" / "production-values.yaml", "--api-versions", MONITORING)
    objects = helm.render(*chosen, *settings(webhook__failurePolicy=policy))
    (rule,) = of_kind(objects, "PrometheusRule")
    (group,) = [each for each in rule["spec"]["groups"] if each["name"] == "disagg-webhook"]
    assert [alert["labels"] for alert in group["rules"]] == [{"severity": severity}] * 2
    (monitor,) = [each for each in of_kind(objects, "PodMonitor") if "webhook" in each["metadata"]["name"]]
    webhook = the(objects, "Deployment", monitor["metadata"]["name"])["spec"]["template"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= webhook["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    ports = [port["name"] for container in webhook["spec"]["containers"] for port in container["ports"]]
    assert endpoint["port"] in ports
    assert endpoint["scheme"] == "https"


def test_there_is_no_alert_of_a_webhook_that_is_off(helm: Helm) -> None:
    chosen = ("--values", CHART / "ci" / "production-values.yaml", "--api-versions", MONITORING)
    objects = helm.render(*chosen, *settings(webhook__enabled=False))
    assert "disagg_webhook" not in str(of_kind(objects, "PrometheusRule"))
    assert len(of_kind(objects, "PodMonitor")) == 2


def test_agents_beside_workers_are_scraped(helm: Helm) -> None:
    values = CHART / "ci" / "production-values.yaml"
    monitors = of_kind(helm.render("--values", values, "--api-versions", MONITORING), "PodMonitor")
    (workers,) = [each for each in monitors if each["metadata"]["name"].endswith("-workers")]
    assert "agent" in [each["port"] for each in workers["spec"]["podMetricsEndpoints"]]


@pytest.mark.parametrize("enforce", [True, False])
def test_gates_are_opened_only_where_that_is_wanted(helm: Helm, enforce: bool) -> None:
    objects = helm.render(*settings(**IMAGES, **{"verification.enforce": enforce}))
    rules = [
        rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"] if "resources" in rule
    ]
    granted = {(resource, verb) for rule in rules for resource in rule["resources"] for verb in rule["verbs"]}
    assert (("pods/status", "patch") in granted) == enforce
    assert ("pods/log", "get") in granted


@pytest.mark.parametrize(
    ("values", "image"),
    [
        ({}, "example.com/operator:{version}"),
        ({"image.tag": "1.2"}, "example.com/operator:1.2"),
        (
            {"image.tag": "1.2", "image.digest": "sha256:" + "a" * 64},
            "example.com/operator@sha256:" + "a" * 64,
        ),
        ({"global.imageRegistry": "mirror:5000"}, "mirror:5000/example.com/operator:{version}"),
    ],
)
def test_the_image_is_put_together(helm: Helm, values: dict[str, object], image: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    objects = helm.render(*settings(**{**IMAGES, "image.repository": "example.com/operator", **values}))
    expected = image.format(version=version)
    assert {container["image"] for spec in pods(objects) for container in spec["containers"]} == {expected}


def test_the_command_line_lists_the_images_that_the_chart_renders(helm: Helm, ci_values: Path) -> None:
    listed = CliRunner().invoke(app, ["images", "--values", str(ci_values), "--names"])
    assert listed.exit_code == 0, listed.output
    objects = helm.render("--values", ci_values)
    run = {container["image"] for spec in pods(objects) for container in spec["containers"]}
    asked = environment(objects)
    named = {asked[f"DISAGG_{name}_IMAGE"] for name in ("WORKER", "ETCD", "NATS")} - {""}
    assert run | named <= set(listed.stdout.splitlines())


def test_names_stay_within_their_limit(helm: Helm) -> None:
    objects = helm.render(*settings(**IMAGES, fullnameOverride="n" * 63))
    assert (
        max(
            len(found["metadata"]["name"]) for found in objects if found["kind"] != "CustomResourceDefinition"
        )
        < 64
    )


def test_crds_of_the_repository_and_of_the_chart_are_the_same(helm: Helm) -> None:
    rendered = of_kind(helm.render(*settings(**IMAGES)), "CustomResourceDefinition")
    files = sorted((ROOT / "crds").glob("*.yaml"))
    assert len(files) == 2
    for file in files:
        original = yaml.safe_load(file.read_text())
        copy = the(rendered, "CustomResourceDefinition", original["metadata"]["name"])
        assert copy["spec"] == original["spec"]


def test_crds_come_by_each_upgrade_and_say_of_which_version_they_are(helm: Helm) -> None:
    """Helm leaves what a chart has in a folder crds/ as it is, for ever; so they are templates."""
    assert not (CHART / "crds").exists()
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    ours = {yaml.safe_load(path.read_text())["metadata"]["name"] for path in (ROOT / "crds").glob("*.yaml")}
    upgraded = helm.render(*settings(**IMAGES), "--is-upgrade")
    marked = {
        found["metadata"]["name"]
        for found in of_kind(upgraded, "CustomResourceDefinition")
        if found["metadata"].get("annotations", {}).get("disagg.dev/chart-version") == version
    }
    assert marked == ours
    validate = (CHART / "templates" / "validate.yaml").read_text()
    assert all(f'"{name}"' in validate for name in ours), "older charts must be refused for each"


@pytest.mark.parametrize("keep", [True, False])
def test_crds_are_kept_if_asked_for(helm: Helm, keep: bool) -> None:
    objects = helm.render(*settings(**IMAGES, crds__keep=keep))
    for found in of_kind(objects, "CustomResourceDefinition"):
        annotations = found["metadata"].get("annotations", {})
        assert (annotations.get("helm.sh/resource-policy") == "keep") is keep, found["metadata"]["name"]


def environment(objects: list[Object]) -> dict[str, str]:
    """Return the operator's environment, without what comes from the pod itself."""
    (container,) = the(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("made", [True, False])
def test_network_policies_are_made_where_that_is_wanted_and_the_operator_knows(
    helm: Helm, made: bool
) -> None:
    objects = helm.render(*settings(**IMAGES, **{"network.policies": made}))
    assert environment(objects)["DISAGG_NETWORK_POLICIES"] == str(made).lower()
    roles = [role for role in of_kind(objects, "ClusterRole") if role["metadata"]["name"] == RELEASE]
    granted = [rule for role in roles for rule in role["rules"] if "networkpolicies" in rule["resources"]]
    verbs = ["list", "watch", "create", "patch", "delete"]
    assert [rule["verbs"] for rule in granted] == ([verbs] if made else [])


def test_metrics_of_deployments_are_read_by_those_who_are_named_or_who_scrape(helm: Helm) -> None:
    def peers(**values: object) -> object:
        return json.loads(environment(helm.render(*settings(**IMAGES, **values)))["DISAGG_METRICS_FROM"])

    named = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]
    assert peers() == []
    assert peers(podMonitor__enabled=True) == [{"namespaceSelector": {}}]
    assert peers(podMonitor__enabled=True, network__metricsFrom=named) == named


def test_the_operators_own_policy_lets_it_ask_what_the_policies_of_deployments_let_it_ask(
    helm: Helm,
) -> None:
    objects = helm.render(*settings(**IMAGES, networkPolicy__enabled=True))
    policy = the(objects, "NetworkPolicy", RELEASE)
    peers = [peer for rule in policy["spec"]["egress"] if "ports" not in rule for peer in rule["to"]]
    labels = names.labels("demo", names.FRONTEND).items()
    assert any(peer["podSelector"]["matchLabels"].items() <= labels for peer in peers)
    pod = the(objects, "Deployment", RELEASE)["spec"]["template"]["metadata"]["labels"]
    assert pod[names.LABEL_COMPONENT] == names.OPERATOR
