"""What preflight finds: faults of the cluster, and what could not be checked."""

from dataclasses import dataclass
from enum import StrEnum

from disagg_operator.reconcile.preflight.wording import some


class Check(StrEnum):
    """What is checked. The value is the reason of condition PlatformReady where the check fails."""

    POD_SECURITY = "PodSecurity"
    API_MISSING = "ApiMissing"
    GANG_SCHEDULER_MISSING = "GangSchedulerMissing"
    FIELDS_NOT_STORED = "FieldsNotStored"
    DEVICE_CLASS_MISSING = "DeviceClassMissing"
    CLAIM_MISSING = "ClaimMissing"
    VOLUME_MISSING = "VolumeMissing"
    VOLUME_NOT_BOUND = "VolumeNotBound"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - no password
    CONFIG_MAP_MISSING = "ConfigMapMissing"
    SECOND_CHANNEL = "SecondChannel"
    NO_NODES = "NoNodes"
    NO_MATCHING_NODE = "NoMatchingNode"
    NODES_UNAVAILABLE = "NodesUnavailable"
    TAINTS_NOT_TOLERATED = "TaintsNotTolerated"
    DEVICE_MISSING = "DeviceMissing"
    DEVICE_COUNT_TOO_HIGH = "DeviceCountTooHigh"
    RESOURCES_TOO_LARGE = "ResourcesTooLarge"
    TOO_FEW_NODES = "TooFewNodes"
    NO_LARGE_DOMAIN = "NoLargeDomain"


@dataclass(frozen=True)
class Fault:
    """One reason why the cluster cannot run a deployment.

    Attributes:
        check: the check that found it.
        message: what is wrong and what to run or write, for people.
        source: the document, or the field of the specification, that asks for it.
    """

    check: Check
    message: str
    source: str

    def __str__(self) -> str:
        return f"{self.message} ({self.source})"

    @property
    def fatal(self) -> bool:
        """Whether no pod could ever run: the API server refuses it, or nobody would schedule it as asked."""
        return self.check in (Check.POD_SECURITY, Check.GANG_SCHEDULER_MISSING)


@dataclass(frozen=True)
class Domains:
    """The values of the node label that all workers share, where some have room for them and some have not.

    The scheduler places the first worker anywhere; in a value that is too small, the others wait in vain.

    Attributes:
        key: the label.
        roomy: values with room for all workers.
        cramped: values with room for some only.
    """

    key: str
    roomy: tuple[str, ...]
    cramped: tuple[str, ...]

    @property
    def remark(self) -> str:
        """What may happen, and what to write against it."""
        return (
            f"All workers share one value of the node label {self.key}. {some(self.cramped)} has no room for "
            f"all of them, and if the scheduler puts the first worker there, the rest waits. {self.remedy}"
        )

    @property
    def remedy(self) -> str:
        """What to write, so that workers go where there is room."""
        more = "" if len(self.roomy) == 1 else f" (there is room in {some(self.roomy)})"
        return f"Write spec.placement.nodeSelector: {{{self.key}: {self.roomy[0]}}}{more}."


@dataclass(frozen=True)
class Assessment:
    """Whether a cluster can run a deployment.

    Attributes:
        faults: why it cannot, what to look at first coming first.
        unknown: what could not be checked, and why.
        remarks: what could be better, though nothing is missing.
        domains: zones or cliques of which some are too small for all workers, or None.
    """

    faults: tuple[Fault, ...] = ()
    unknown: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    domains: Domains | None = None

    @property
    def fatal(self) -> bool:
        """Whether no pod could ever run."""
        return any(fault.fatal for fault in self.faults)
