"""The image of workers and frontend: the user's, a published one, or the installation's."""

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.environment import fill
from disagg_operator.plan.facts import Facts, first, provenance
from disagg_operator.plan.model import Provenance

_OWN = Provenance("The image of the reference engine and its frontend.", "the chart's worker.image")


def image_of(basis: Basis, facts: Facts) -> tuple[str, Provenance]:
    """Return the image of a pod, and why it is that.

    Args:
        basis: what the deployment's pods have in common.
        facts: facts of the pod, without what only its image tells.

    Raises:
        Refusal: none is published for what is asked.
    """
    if basis.spec.runtime.image is not None:
        return basis.spec.runtime.image, Provenance("Set by the user.", "spec.runtime.image")
    release = basis.platform.release
    image = first(release.images, facts)
    if image is not None:
        return fill(image.value, facts), provenance(image)
    if release.built is None:
        return basis.installation.worker_image, _OWN
    method = f"{basis.runtime.name} {basis.runtime.version} with {basis.transfer.method} transfer"
    fault = f"no image of {method} is published. {release.built.reason.rstrip('.')}"
    remedy = f"Build one with `{fill(release.built.value, facts)}` and write its reference"
    raise Refusal([Problem("spec.runtime.image", fault, remedy, "image-published")])
