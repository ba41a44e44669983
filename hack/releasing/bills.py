"""Bills of materials (CycloneDX): what the images and the archives of kubectl-disagg hold, with hashes."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from releasing.commands import output
from releasing.locked import NOT_OF_PLUGIN, export
from releasing.source import Source


def write_bills(source: Source, folder: Path) -> list[Path]:
    """Write the bills into a folder and return their paths."""
    folder.mkdir()
    output([source.root / "hack" / "sbom", folder], source.root)
    plugin = folder / "kubectl-disagg.cdx.json"
    plugin.write_text(export(source.root, "cyclonedx1.5", NOT_OF_PLUGIN), encoding="utf-8")
    for path in folder.glob("*.cdx.json"):
        path.write_text(_of_the_commit(path.read_text(encoding="utf-8"), source.time), encoding="utf-8")
    return sorted(folder.iterdir())


def _of_the_commit(text: str, time: int) -> str:
    """Return a bill whose time and number come from what it lists, not from when it was made."""
    bill = json.loads(text)
    bill["metadata"]["timestamp"] = datetime.fromtimestamp(time, UTC).isoformat()
    del bill["serialNumber"]
    digest = sha256(json.dumps(bill, sort_keys=True).encode()).digest()
    bill["serialNumber"] = UUID(bytes=digest[:16], version=4).urn
    return json.dumps(bill, indent=2) + "\n"
