"""What the pods of a role find in the folder of their configuration, as their objects say."""

from collections.abc import Iterable
from typing import Any


def worker_files(objects: Iterable[dict[str, Any]], role: str) -> dict[str, str]:
    """Return the files by name that pods of a role see in the volume of their configuration."""
    found = list(objects)
    pod = next(
        obj["spec"]["template"]["spec"]
        for obj in found
        if obj["kind"] == "StatefulSet" and obj["metadata"]["labels"]["disagg.dev/role"] == role
    )
    (volume,) = [each["configMap"] for each in pod["volumes"] if each["name"] == "config"]
    (data,) = [
        obj["data"]
        for obj in found
        if (obj["kind"], obj["metadata"]["name"]) == ("ConfigMap", volume["name"])
    ]
    return {item["path"]: data[item["key"]] for item in volume["items"]}
