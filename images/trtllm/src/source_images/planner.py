"""From a request and what was observed to a plan. Pure."""

from source_images.built import plan_build
from source_images.eras import BuiltEra, Eras
from source_images.plan import Plan, Request, Surroundings
from source_images.published import plan_published


def plan(request: Request, eras: Eras, around: Surroundings) -> Plan:
    """Decide what to do.

    Raises:
        ImageError: If it cannot be done; the message says what to write or do instead.
    """
    era = eras.era(request.era)
    if isinstance(era, BuiltEra):
        return plan_build(request, era, eras, around)
    return plan_published(request, era, eras, around.engine)
