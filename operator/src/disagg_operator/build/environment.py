"""Environment variables of containers."""

from disagg_operator.build.metadata import Object
from disagg_operator.plan.model import EnvSetting


def variable(setting: EnvSetting) -> Object:
    """Return a variable as a container has it."""
    if setting.value_from is not None:
        return {"name": setting.name, "valueFrom": dict(setting.value_from)}
    return {"name": setting.name, "value": setting.value or ""}
