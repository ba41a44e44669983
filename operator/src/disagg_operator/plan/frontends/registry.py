"""The kinds of frontends that this version of the operator runs."""

from collections.abc import Mapping

from disagg_operator.api.v1alpha1.runtime import FrontendKind
from disagg_operator.plan.frontends import dynamo, trtllm_serve
from disagg_operator.plan.frontends.family import Family

FAMILIES: Mapping[FrontendKind, Family] = {
    FrontendKind.DYNAMO: dynamo.FAMILY,
    FrontendKind.TRTLLM_SERVE: trtllm_serve.FAMILY,
}
