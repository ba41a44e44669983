"""Plans for eras whose image NVIDIA publishes: its name, or the EFA SDK laid over it. Pure."""

from source_images.eras import FOLDER, Architecture, EfaLayer, Eras, Pin, PublishedEra
from source_images.errors import ImageError
from source_images.plan import Outcome, Plan, Request, Step
from source_images.versions import Version, version_of

# What can build a Containerfile, the best first, with its verb.
_BUILD_VERBS = {"docker": "build", "podman": "build", "buildah": "bud"}
ENGINES = tuple(_BUILD_VERBS)


def plan_published(request: Request, era: PublishedEra, eras: Eras, engine: str) -> Plan:
    """Name the image that NVIDIA publishes, or plan to lay EFA over it where NVIDIA does not.

    Raises:
        ImageError: If no release is named or the era is not its own.
    """
    version = _release(request, era)
    standard = f"{eras.image}:{version}"
    published = eras.efa_tag(version, request.arch) if era.efa else str(version)
    if published is None:
        return _layer_efa(request, version, standard, eras.efa_layer, engine)
    architectures = request.arch if era.efa else " and ".join(Architecture)
    note = f"NVIDIA publishes this image for {architectures}: nothing is built ({era.source})."
    return Plan((), (note,), Outcome(f"{eras.image}:{published}", str(version), request.transfer))


def _release(request: Request, era: PublishedEra) -> Version:
    if request.trtllm_commit is not None:
        raise ImageError(
            f"TRTLLM_COMMIT: era {era.name} takes NVIDIA's image, which compiles nothing",
            remedy="leave TRTLLM_COMMIT out",
        )
    if request.version is None:
        raise ImageError(
            f"VERSION: era {era.name} needs the release of Dynamo", remedy="write it, such as VERSION=1.1.1"
        )
    version = version_of(request.version)
    if version < era.first:
        raise ImageError(
            f"VERSION={version}: era {era.name} begins with Dynamo {era.first} ({era.first_source})",
            remedy=f"write VERSION={era.first} or a newer one, or an older ERA",
        )
    return version


def _layer_efa(request: Request, version: Version, standard: str, layer: EfaLayer, engine: str) -> Plan:
    installer = _pinned("EFA_INSTALLER", request.efa_installer, layer.installer)
    arguments = [f"BASE_IMAGE={request.base_image or standard}", f"EFA_INSTALLER_VERSION={installer}"]
    if request.arch in layer.libfabric.architectures:
        arguments.append(f"LIBFABRIC_VERSION={_pinned('LIBFABRIC', request.libfabric, layer.libfabric)}")
    elif request.libfabric is not None:
        raise ImageError(
            f"LIBFABRIC: on {request.arch} the EFA installer's own libfabric is used",
            remedy="leave LIBFABRIC out",
        )
    image = request.tag or f"tensorrtllm-runtime:{version}-efa-{request.arch}"
    step = Step(
        title="Lay the EFA SDK over the standard image",
        argv=(
            *(engine, _BUILD_VERBS[engine], "--platform", f"linux/{request.arch}"),
            *(word for argument in arguments for word in ("--build-arg", argument)),
            *("--tag", image, "--file", str(FOLDER / "efa/Containerfile"), str(FOLDER / "efa")),
        ),
        why=f"NVIDIA publishes no EFA image of {version} for {request.arch}.",
    )
    return Plan(
        steps=(step,),
        notes=(f"Instead of building: {layer.instead}.",),
        outcome=Outcome(image, str(version), request.transfer),
        engines=ENGINES,
    )


def _pinned(name: str, asked: str | None, pin: Pin) -> Version:
    version = version_of(asked, name) if asked else pin.default
    if version < pin.minimum:
        raise ImageError(
            f"{name}={version} is too old. {pin.reason} ({pin.source})", remedy=f"write {name}={pin.minimum}"
        )
    return version
