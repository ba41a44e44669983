"""Whether a worker's UCX_TLS excludes all that the platform promises: the usual cause of slow KV cache."""

from collections.abc import Iterable

from disagg_operator.api.transport import RDMA, Transport
from disagg_operator.api.ucx import UCX_TLS, may_take
from disagg_operator.plan.model import EnvSetting, RolePlan

_FABRICS = RDMA | {Transport.NVLINK}


def excluding(role: RolePlan, promised: Iterable[Transport]) -> EnvSetting | None:
    """Return the variable by which pods of a role can take nothing that is promised, or None.

    Args:
        role: the pods.
        promised: transports that keep the platform's promise; none where anything will do.
    """
    setting = next((each for each in role.pod.environment if each.name == UCX_TLS), None)
    transports = frozenset(promised)
    if setting is None or not setting.value or not transports & RDMA or not transports <= _FABRICS:
        return None
    # Without GPUs there is no cuda_ipc to take.
    within_reach = transports if role.gpus else transports & RDMA
    return None if any(may_take(setting.value, each) for each in within_reach) else setting
