"""The release itself: upgraded, removed, and installed again for one namespace only."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml

from chart.helm import CHART, RELEASE, HelmError, settings
from e2e.chat import Chat
from e2e.cluster_client import KubectlError, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import NAMESPACE, OTHER_NAMESPACE, ROOT, SYSTEM, Installed, make_namespace
from upgrade.release import Release, releases

pytestmark = pytest.mark.cluster

CRD = "disaggdeployments.disagg.dev"
DEFINITIONS = (CRD, "disaggscalers.disagg.dev")
VERSION = "disagg.dev/chart-version"
SECONDS = 300.0


def crd_uid(installed: Installed) -> str:
    """Return the identity of the CustomResourceDefinition."""
    uid: str = installed.kubectl.get("crd", CRD, SYSTEM)["metadata"]["uid"]
    return uid


def as_of(release: Release, folder: Path) -> Path:
    """Make a chart with the definitions of a release, of a version before this one's.

    Its operator is this version's: images of earlier ones are not stored.
    """
    chart = Path(shutil.copytree(CHART, folder / "chart"))
    about = yaml.safe_load((chart / "Chart.yaml").read_text())
    (chart / "Chart.yaml").write_text(yaml.safe_dump({**about, "version": "0.0.1"}))
    for definition in release.definitions:
        file = chart / "templates" / "crds" / f"disagg.dev_{definition['spec']['names']['plural']}.yaml"
        head, _, _ = file.read_text().partition("\nspec:\n")
        # Helm would take braces of rules for its own.
        spec = f"{{{{ {json.dumps(json.dumps(definition['spec']))} }}}}"
        file.write_text(f"{head}\nspec: {spec}\n{{{{- end }}}}\n")
    return chart


@pytest.fixture
def upgraded(installed: Installed, namespace: str) -> Iterator[Deployment]:
    """A deployment that is there before and after an upgrade; not made yet."""
    deployment = Deployment(installed.kubectl, namespace, "upgraded")
    yield deployment
    deployment.delete()


def pods(deployment: Deployment) -> dict[str, tuple[str, list[int]]]:
    """Return uid and restarts of each pod."""
    return {
        pod["metadata"]["name"]: (
            pod["metadata"]["uid"],
            [
                container["restartCount"]
                for kind in ("initContainerStatuses", "containerStatuses")
                for container in pod["status"].get(kind, [])
            ],
        )
        for pod in deployment.children("pods")
    }


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("release", releases()[-1:], ids=lambda release: release.folder.name)
def test_an_upgrade_restarts_no_pod_and_the_older_chart_is_refused_after_it(
    installed: Installed, upgraded: Deployment, http: httpx.Client, release: Release, tmp_path: Path
) -> None:
    older = as_of(release, tmp_path)
    for name in DEFINITIONS:
        installed.kubectl("annotate", "crd", name, f"{VERSION}-")
    installed.release("upgrade", RELEASE, SYSTEM, chart=older)
    assert [version(installed, name) for name in DEFINITIONS] == ["0.0.1", "0.0.1"]
    installed.kubectl.apply_to(upgraded.namespace, spec(upgraded.name))
    upgraded.wait_complete(SECONDS)
    upgraded.wait("TransportVerified", timeout=SECONDS)
    before, operators = pods(upgraded), set(installed.operator_pods())
    assert len(before) == 3

    installed.release("upgrade", RELEASE, SYSTEM, *settings(logging__level="debug"))
    assert not operators & set(installed.operator_pods()), "the operator is another process"
    current = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    assert [version(installed, name) for name in DEFINITIONS] == [current, current]
    # The old object is valid still, and a new one is; no pod knows of what is edited.
    installed.kubectl.apply_to(
        upgraded.namespace, spec(upgraded.name, rollout={"progressDeadlineSeconds": 611})
    )
    upgraded.wait_complete(SECONDS)
    assert Chat(http, upgraded.namespace, upgraded.name).ask("Who are you?").text
    assert pods(upgraded) == before

    with pytest.raises(HelmError, match="drops the fields that it does not know") as refused:
        installed.release("upgrade", RELEASE, SYSTEM, chart=older)
    assert f"kubectl annotate crd {CRD} {VERSION}-" in str(refused.value)
    assert version(installed, CRD) == current
    assert pods(upgraded) == before


def version(installed: Installed, definition: str) -> str:
    """Return the version of the chart that a definition is of."""
    found: str = installed.kubectl.get("crd", definition, SYSTEM)["metadata"]["annotations"][VERSION]
    return found


def test_an_upgrade_to_two_operators_keeps_the_resource(installed: Installed) -> None:
    before = crd_uid(installed)
    installed.release("upgrade", RELEASE, SYSTEM, *settings(replicaCount=2, logging__level="debug"))
    assert len(installed.operator_pods()) == 2, "the new pods, and no old one"
    assert crd_uid(installed) == before
    assert "Succeeded" in installed.helm("test", RELEASE, "--namespace", SYSTEM)


def test_the_second_operator_takes_over(installed: Installed) -> None:
    def holder() -> str:
        lease = installed.kubectl.get("lease", RELEASE, SYSTEM)
        identity: str = lease["spec"].get("holderIdentity") or ""
        assert identity
        return identity

    first = eventually(holder, 90)
    (leader,) = [pod for pod in installed.operator_pods() if first.startswith(pod)]
    installed.kubectl("delete", "pod", leader, f"--namespace={SYSTEM}", "--wait=false")

    def taken_over() -> None:
        assert holder() != first

    eventually(taken_over, 40)


def test_the_webhook_judges_at_apply_and_keeps_its_certificate_over_upgrades(installed: Installed) -> None:
    webhook = settings(webhook__enabled=True, webhook__replicaCount=1, webhook__failurePolicy="Fail")
    certificates = []
    for _ in range(2):
        installed.release("upgrade", RELEASE, SYSTEM, *webhook)
        secret = installed.kubectl.get("secret", f"{RELEASE}-webhook", SYSTEM)
        certificates.append(secret["data"]["tls.crt"])
    assert certificates[0] == certificates[1]
    wrong = spec("refused-at-once", platform="no-such-machine")
    with pytest.raises(KubectlError) as refused:
        installed.kubectl.apply_to(NAMESPACE, wrong)
    assert "denied the request: spec.platform" in str(refused.value)
    assert "no-such-machine" in str(refused.value)
    installed.release("upgrade", RELEASE, SYSTEM, *settings(webhook__enabled=False))
    installed.kubectl.apply_to(NAMESPACE, wrong)
    Deployment(installed.kubectl, NAMESPACE, "refused-at-once").delete()


def test_uninstalling_keeps_the_resource_and_a_namespaced_release_serves_its_namespace_only(
    installed: Installed,
) -> None:
    before = crd_uid(installed)
    installed.helm("uninstall", RELEASE, "--namespace", SYSTEM, "--wait")
    assert crd_uid(installed) == before
    eventually(lambda: _none(installed.operator_pods()), 60)
    mine, other = (make_namespace(installed.kubectl, name) for name in (NAMESPACE, OTHER_NAMESPACE))
    only = settings(watch__namespaces=[mine], crds__enabled=False, dynamo__crd__enabled=False)
    installed.release("install", "namespaced", mine, *only)
    (example,) = (ROOT / "examples" / "01-quickstart").glob("*.yaml")
    for namespace in (other, mine):
        installed.kubectl("apply", f"--namespace={namespace}", f"--filename={example}")
    Deployment(installed.kubectl, mine, "smollm2").wait_complete()
    ignored = Deployment(installed.kubectl, other, "smollm2")
    assert "status" not in ignored.read()
    assert not ignored.children()
    assert "Succeeded" in installed.helm("test", "namespaced", "--namespace", mine)
    Deployment(installed.kubectl, mine, "smollm2").delete()


def _none(found: list[str]) -> None:
    assert not found
