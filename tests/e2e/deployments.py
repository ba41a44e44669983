"""One DisaggDeployment on the cluster: what a user does with it, and what she sees."""

from dataclasses import dataclass

from e2e.cluster_client import Kubectl, Object, eventually
from testcluster.demo import summary

CHILDREN = "serviceaccounts,configmaps,services,rolebindings,statefulsets,deployments,jobs,pods"
WORKER_METADATA = "dynamoworkermetadatas.nvidia.com"
START_SECONDS = 150
"""From nothing to Available: two workers and a frontend import their libraries on two shared cores."""


def spec(name: str, **fields: object) -> Object:
    """Return a DisaggDeployment of the small model, with further fields of its specification."""
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name},
        "spec": {
            "model": {
                "name": "smollm2-135m-instruct",
                "source": {"runtimeImage": {"path": "/models/smollm2-135m-instruct"}},
            },
            "platform": "local",
            "runtime": {"engine": "reference", "frontend": "dynamo"},
            **fields,
        },
    }


@dataclass(frozen=True)
class Deployment:
    """A DisaggDeployment by name.

    Attributes:
        kubectl: the cluster.
        namespace: its namespace.
        name: its name.
    """

    kubectl: Kubectl
    namespace: str
    name: str

    def read(self) -> Object:
        """Return the object as it is now."""
        return self.kubectl.get("disaggdeployment", self.name, self.namespace)

    def patch(self, patch: str) -> None:
        """Change it by a JSON merge patch."""
        self.kubectl(
            *("patch", "disaggdeployment", self.name, f"--namespace={self.namespace}"),
            *("--type=merge", f"--patch={patch}"),
        )

    def condition(self, kind: str) -> Object:
        """Return a condition that speaks of the current generation."""
        return _condition(self.read(), kind)

    def wait(self, kind: str, status: str = "True", timeout: float = START_SECONDS) -> Object:
        """Wait until a condition of the current generation has a status, and return the condition."""

        def check() -> Object:
            condition = self.condition(kind)
            assert condition["status"] == status, f"{kind} is {condition['status']}: {condition['message']}"
            return condition

        return eventually(check, timeout)

    def wait_complete(self, timeout: float = START_SECONDS) -> None:
        """Wait until the specification is served in full, with nothing of an older one left."""

        def check() -> None:
            now = self.read()
            states = summary(now, [])
            assert _condition(now, "Available")["status"] == "True", states
            assert _condition(now, "Progressing")["reason"] == "Complete", states
            assert now["status"]["revision"] == now["status"]["updateRevision"], states

        eventually(check, timeout)

    def selector(self, role: str = "") -> str:
        """Return the label selector of its objects, or of one role's."""
        own = f"disagg.dev/deployment={self.name}"
        return f"{own},disagg.dev/role={role}" if role else own

    def children(self, kinds: str = CHILDREN, role: str = "") -> list[Object]:
        """Return the objects that were made for it."""
        return self.kubectl.list(kinds, self.namespace, self.selector(role))

    def pods(self, role: str) -> list[Object]:
        """Return the pods of a role that are not being deleted."""
        found = self.children("pods", role)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def workers_known(self) -> set[str]:
        """Return the names of its pods that announced themselves to Dynamo."""
        pods = {pod["metadata"]["name"] for pod in self.children("pods")}
        metadata = self.kubectl.list(WORKER_METADATA, self.namespace)
        return pods & {found["metadata"]["name"] for found in metadata}

    def delete(self) -> None:
        """Delete it and wait until nothing is left, the workers' registrations included."""
        names = {pod["metadata"]["name"] for pod in self.children("pods")}
        self.kubectl(
            "delete", "disaggdeployment", self.name, f"--namespace={self.namespace}", "--ignore-not-found"
        )

        def check() -> None:
            left = [f"{found['kind']}/{found['metadata']['name']}" for found in self.children()]
            known = {
                found["metadata"]["name"] for found in self.kubectl.list(WORKER_METADATA, self.namespace)
            }
            left += [f"DynamoWorkerMetadata/{name}" for name in names & known]
            assert not left, f"left behind: {left}"

        eventually(check, 90)


def _condition(deployment: Object, kind: str) -> Object:
    conditions = deployment.get("status", {}).get("conditions", [])
    found: list[Object] = [condition for condition in conditions if condition["type"] == kind]
    assert found, f"there is no condition {kind} yet"
    assert found[0].get("observedGeneration") == deployment["metadata"]["generation"], (
        f"{kind} speaks of an old generation"
    )
    return found[0]
