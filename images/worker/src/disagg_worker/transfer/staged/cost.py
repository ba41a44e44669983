"""When reading piece by piece is quicker than through staging memory. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """What the two ways cost beside the bytes on the wire, which are the same.

    Attributes:
        descriptor_seconds: Of one descriptor in a READ.
        setup_seconds: Of asking, of the first gathering and the last scattering.
        read_seconds: Of each READ of a slot.
        copy_seconds_per_byte: Copying that does not go on beside the wire; 0 on a GPU.
    """

    descriptor_seconds: float
    setup_seconds: float = 0.0
    read_seconds: float = 5e-6
    copy_seconds_per_byte: float = 0.0

    def prefers_direct(self, segments: int, nbytes: int, slot_bytes: int) -> bool:
        """Whether to read so many segments as they are, in one READ, rather than through slots."""
        reads = -(-nbytes // slot_bytes)
        staged = self.setup_seconds + self.read_seconds * reads + self.copy_seconds_per_byte * nbytes
        return self.descriptor_seconds * segments <= staged


GPU_COST = Cost(descriptor_seconds=3.8e-6, setup_seconds=65e-6)
"""Between two H200 on NVLink, in a quiet run, both ways took as long where 64 MiB are 16 pieces, and
where 512 MiB are about 22; a READ of 4096 pieces of 16 KiB took 18.9 ms."""
HOST_COST = Cost(30e-6, setup_seconds=1e-3, read_seconds=200e-6, copy_seconds_per_byte=0.4e-9)
"""Over TCP on one machine (docs/kv-transfer.md) both ways took as long where 64 MiB are 1024 pieces; these
figures say 1033. A descriptor took 20 to 30 us, and staging 25 to 40 ms more than one READ of 64 MiB."""
ALWAYS_DIRECT = Cost(descriptor_seconds=0.0)
ALWAYS_STAGED = Cost(descriptor_seconds=1.0)
