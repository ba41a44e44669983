"""Machines: what a node has, and how it is connected."""

from typing import Annotated

from pydantic import Field

from disagg_operator.platforms.profile.layer import HardwareLayer
from disagg_operator.platforms.profile.values import Choice, Conditional, PodResources, Sourced


class SharedMemory(Conditional):
    """Size of ``/dev/shm``, held in memory and counted as the pod's, as a Kubernetes quantity."""

    size: str


class Gpus(Sourced):
    """The GPUs of a node.

    Attributes:
        count: how many a node has.
        model: what they are.
        resource: name by which pods ask for them.
    """

    count: Annotated[int, Field(ge=1)]
    model: str
    resource: str = "nvidia.com/gpu"


class MachineProfile(HardwareLayer):
    """A kind of machine and how it is connected.

    Attributes:
        name: what users write into ``spec.platform``.
        description: one sentence for people.
        fabrics: names of its fabrics; KV cache crosses the first.
        gpus: GPUs of a node; none where the profile fits machines of any sort.
        architecture: ``amd64`` or ``arm64``; none where the profile fits both.
        worker_resources: CPU and memory of a worker that computes on CPU.
        gpu_worker_resources: CPU and memory of a worker for each of its GPUs.
        frontend_resources: CPU and memory of a frontend pod.
        shared_memory: size of the workers' ``/dev/shm``; the first that applies.
    """

    name: str
    description: str
    fabrics: Annotated[tuple[str, ...], Field(min_length=1)]
    gpus: Gpus | None = None
    architecture: Choice | None = None
    worker_resources: PodResources
    gpu_worker_resources: PodResources | None = None
    frontend_resources: PodResources
    shared_memory: tuple[SharedMemory, ...] = ()
