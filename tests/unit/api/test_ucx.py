"""What UCX_TLS leaves to take. Names and aliases are those of UCX 1.23 (ucp_context.c)."""

import pytest

from disagg_operator.api.transport import Transport
from disagg_operator.api.ucx import may_take

RDMA, SRD, TCP, NVLINK = Transport.UCX_RDMA, Transport.UCX_SRD, Transport.UCX_TCP, Transport.NVLINK


@pytest.mark.parametrize(
    ("tls", "left"),
    [
        ("all", {RDMA, SRD, TCP, NVLINK}),
        ("", {RDMA, SRD, TCP, NVLINK}),
        ("tcp", {TCP}),
        ("tcp, cuda_copy", {TCP}),
        ("rc_x,rc,dc_x,dc,cuda_copy,cuda_ipc", {RDMA, NVLINK}),
        ("ib,cuda", {RDMA, SRD, NVLINK}),
        ("\\rc_mlx5,ud:aux,sm", {RDMA}),
        ("srd,cuda_copy", {SRD}),
        ("^tcp", {RDMA, SRD, NVLINK}),
        ("^rc", {RDMA, SRD, TCP, NVLINK}),
        ("^rc,dc,ud,srd,cuda_ipc", {TCP}),
        ("^ib,cuda", {SRD, TCP}),
    ],
)
def test_transports_that_are_left(tls: str, left: set[Transport]) -> None:
    assert {each for each in (RDMA, SRD, TCP, NVLINK) if may_take(tls, each)} == left
    assert may_take(tls, Transport.LIBFABRIC_EFA)
