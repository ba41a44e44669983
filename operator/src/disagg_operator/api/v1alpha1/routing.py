"""Which prompts are not worth a transfer of KV cache."""

from typing import Annotated

from pydantic import Field

from disagg_operator.api.v1alpha1.base import ApiModel
from disagg_operator.api.v1alpha1.markers import whole


class PrefixHitSpec(ApiModel):
    """Prompts of which decode has the beginning in its KV cache."""

    max_new_tokens: Annotated[int, Field(ge=1, le=1 << 20, json_schema_extra=whole())]
    """Most tokens of the prompt that are not in decode's KV cache."""
    min_percent: Annotated[int, Field(ge=1, le=99, json_schema_extra=whole())] | None = None
    """Percent of the prompt of which more is in decode's KV cache. Default: any part will do."""


class LocalPrefillSpec(ApiModel):
    """Prompts that decode computes itself, so that no KV cache is transferred: those of any one field."""

    max_prompt_tokens: Annotated[int, Field(ge=1, le=1 << 20, json_schema_extra=whole())] | None = None
    """Prompts of at most so many tokens, whatever is cached. Default: none. The reference engine has it."""
    prefix_hit: PrefixHitSpec | None = None
    """Prompts that decode has mostly cached; needs frontend.routerMode kv. Default: none."""
    prefill_load_percent: Annotated[int, Field(ge=1, le=100000, json_schema_extra=whole())] | None = None
    """Prompts for which the best prefill worker has more prompt tokens in hand than so many percent of those
    it computes in one step; needs frontend.routerMode kv. Default: none."""
