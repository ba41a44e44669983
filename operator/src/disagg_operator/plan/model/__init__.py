"""The plan: everything that was decided, in terms of serving, before it becomes Kubernetes objects.

Everything is imported from here; the modules behind it hold a part each.

Invariant: plans are immutable values; two equal inputs give two equal plans. What was derived carries its
provenance, which is never part of what is applied.
"""

from disagg_operator.plan.model.deployment import (
    DECODE,
    PREFILL,
    ROLES,
    BudgetPlan,
    ComputeDomainPlan,
    ConfigSetting,
    FrontendPlan,
    GangPlan,
    GroupPlan,
    Plan,
    PromisedTransport,
    RolePlan,
    ScalerPlan,
    TransferPlan,
    VerificationPlan,
)
from disagg_operator.plan.model.download import DownloadPlan
from disagg_operator.plan.model.network import Entrance, FencePlan, NetworkPlan
from disagg_operator.plan.model.pod import (
    RESTRICTED,
    AgentPlan,
    ApartPlan,
    CheckPlan,
    DrainPlan,
    GatePlan,
    PodPlan,
    PreparePlan,
    SecurityPlan,
    TogetherPlan,
)
from disagg_operator.plan.model.rollout import Limits, RolloutPlan
from disagg_operator.plan.model.services import DiscoveryPlan, RoleReference, ServicePlan, VolumePlan
from disagg_operator.plan.model.settings import (
    Claim,
    DeviceCount,
    EnvSetting,
    ExecProbe,
    HttpProbe,
    Mount,
    Port,
    Probe,
    Provenance,
    Setting,
    TolerationSetting,
)

__all__ = [
    "DECODE",
    "PREFILL",
    "RESTRICTED",
    "ROLES",
    "AgentPlan",
    "ApartPlan",
    "BudgetPlan",
    "CheckPlan",
    "Claim",
    "ComputeDomainPlan",
    "ConfigSetting",
    "DeviceCount",
    "DiscoveryPlan",
    "DownloadPlan",
    "DrainPlan",
    "Entrance",
    "EnvSetting",
    "ExecProbe",
    "FencePlan",
    "FrontendPlan",
    "GangPlan",
    "GatePlan",
    "GroupPlan",
    "HttpProbe",
    "Limits",
    "Mount",
    "NetworkPlan",
    "Plan",
    "PodPlan",
    "Port",
    "PreparePlan",
    "Probe",
    "PromisedTransport",
    "Provenance",
    "RolePlan",
    "RoleReference",
    "RolloutPlan",
    "ScalerPlan",
    "SecurityPlan",
    "ServicePlan",
    "Setting",
    "TogetherPlan",
    "TolerationSetting",
    "TransferPlan",
    "VerificationPlan",
    "VolumePlan",
]
