"""The webhook of the chart: off by default, and sure of its certificate where it is on."""

import base64

from cryptography import x509

from chart.helm import IMAGES, NAMESPACE, RELEASE, Helm, Object, of_kind, settings, the

NAME = f"{RELEASE}-webhook"
CONFIGURATION = f"{NAME}-{NAMESPACE}"


def test_it_is_off_unless_asked_for(default_render: list[Object]) -> None:
    assert of_kind(default_render, "ValidatingWebhookConfiguration") == []
    assert [each for each in default_render if each["metadata"]["name"].startswith(NAME)] == []


def test_the_api_server_trusts_the_certificate_that_the_pods_show(helm: Helm) -> None:
    rendered = helm.render(*settings(**IMAGES, webhook__enabled=True))
    (webhook,) = the(rendered, "ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]
    secret = the(rendered, "Secret", NAME)["data"]
    assert webhook["clientConfig"]["caBundle"] == secret["ca.crt"]
    authority, shown = (
        x509.load_pem_x509_certificate(base64.b64decode(secret[key])) for key in ("ca.crt", "tls.crt")
    )
    shown.verify_directly_issued_by(authority)
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    service = webhook["clientConfig"]["service"]
    assert names.get_values_for_type(x509.DNSName) == [f"{service['name']}.{service['namespace']}.svc"]


def test_cert_manager_makes_the_certificate_if_asked_to(helm: Helm) -> None:
    rendered = helm.render(*settings(**IMAGES, webhook__enabled=True, webhook__certManager__enabled=True))
    configuration = the(rendered, "ValidatingWebhookConfiguration", CONFIGURATION)
    assert configuration["metadata"]["annotations"] == {
        "cert-manager.io/inject-ca-from": f"{NAMESPACE}/{NAME}"
    }
    assert "caBundle" not in configuration["webhooks"][0]["clientConfig"]
    certificate = the(rendered, "Certificate", NAME)["spec"]
    assert certificate["secretName"] == NAME
    assert certificate["issuerRef"] == {"kind": "Issuer", "name": NAME}
    assert the(rendered, "Issuer", NAME)["spec"] == {"selfSigned": {}}
    assert of_kind(rendered, "Secret") == []


def test_a_namespaced_release_judges_its_namespaces_only(helm: Helm) -> None:
    rendered = helm.render(*settings(**IMAGES, webhook__enabled=True, watch__namespaces=["team-a"]))
    (webhook,) = the(rendered, "ValidatingWebhookConfiguration", CONFIGURATION)["webhooks"]
    (match,) = webhook["namespaceSelector"]["matchExpressions"]
    assert match["values"] == ["team-a"]


def test_its_pods_have_no_identity_in_the_cluster(helm: Helm) -> None:
    rendered = helm.render(*settings(**IMAGES, webhook__enabled=True))
    pod = the(rendered, "Deployment", NAME)["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    bound = [
        subject["name"]
        for kind in ("RoleBinding", "ClusterRoleBinding")
        for binding in of_kind(rendered, kind)
        for subject in binding["subjects"]
    ]
    assert pod["serviceAccountName"] not in bound
