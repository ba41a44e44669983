"""The shape of a profile: every value says why it is there and who says so.

A deployment's hardware is described by three sorts of profiles that are laid over each other: the runtime
(what a release and its images hold), the fabrics (what a network asks for) and the machine (what a node has).

Everything is imported from here; the modules behind it hold a sort of profile each.

Invariant: a profile is data. All that code interprets is templates, and conditions on facts of the plan.
"""

from disagg_operator.platforms.profile.engine import (
    EngineRelease,
    EngineSetting,
    Kvbm,
    Meeting,
    Method,
    MpiLaunch,
    Wedged,
)
from disagg_operator.platforms.profile.fabric import (
    Apart,
    Domain,
    FabricProfile,
    PromisedTransport,
    Security,
    Together,
)
from disagg_operator.platforms.profile.layer import (
    Annotation,
    Device,
    HardwareLayer,
    HostMount,
    HugePages,
    Layer,
    NodeLabel,
    Toleration,
    Variable,
)
from disagg_operator.platforms.profile.machine import Gpus, MachineProfile, SharedMemory
from disagg_operator.platforms.profile.runtime import (
    Component,
    Discovery,
    Doubt,
    Drain,
    NatsUse,
    Orchestrator,
    Routing,
    RuntimeProfile,
    Takeover,
)
from disagg_operator.platforms.profile.service import ServiceProfile
from disagg_operator.platforms.profile.values import (
    Choice,
    Conditional,
    Document,
    PodResources,
    Probe,
    ProfileModel,
    Sourced,
)

__all__ = [
    "Annotation",
    "Apart",
    "Choice",
    "Component",
    "Conditional",
    "Device",
    "Discovery",
    "Document",
    "Domain",
    "Doubt",
    "Drain",
    "EngineRelease",
    "EngineSetting",
    "FabricProfile",
    "Gpus",
    "HardwareLayer",
    "HostMount",
    "HugePages",
    "Kvbm",
    "Layer",
    "MachineProfile",
    "Meeting",
    "Method",
    "MpiLaunch",
    "NatsUse",
    "NodeLabel",
    "Orchestrator",
    "PodResources",
    "Probe",
    "ProfileModel",
    "PromisedTransport",
    "Routing",
    "RuntimeProfile",
    "Security",
    "ServiceProfile",
    "SharedMemory",
    "Sourced",
    "Takeover",
    "Together",
    "Toleration",
    "Variable",
    "Wedged",
]
