"""The release itself: upgraded, removed, and installed again for one namespace only."""

import pytest

from chart.helm import RELEASE, settings
from e2e.cluster_client import KubectlError, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import NAMESPACE, OTHER_NAMESPACE, ROOT, SYSTEM, Installed, make_namespace

pytestmark = pytest.mark.cluster

CRD = "disaggdeployments.disagg.dev"


def crd_uid(installed: Installed) -> str:
    """Return the identity of the CustomResourceDefinition."""
    uid: str = installed.kubectl.get("crd", CRD, SYSTEM)["metadata"]["uid"]
    return uid


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
