"""The platform of a deployment: the profiles that its workers are planned by."""

from dataclasses import dataclass

from disagg_operator.platforms.profile import EngineRelease, FabricProfile, Layer, MachineProfile


@dataclass(frozen=True)
class Platform:
    """A machine with its fabrics and the engine's release that runs on it."""

    machine: MachineProfile
    fabrics: tuple[FabricProfile, ...]
    release: EngineRelease

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The profiles that add to worker pods, the winning one last."""
        return (self.release, *self.fabrics, self.machine)
