"""The table of pods' shapes is what a real API server says of itself; UPDATE_GOLDEN=1 writes it anew."""

import json
import os
from importlib.resources import files
from pathlib import Path

import pytest

from disagg_operator.api.kubernetes import forms
from disagg_operator.api.kubernetes.shapes import shapes as known
from integration.api.pod_shapes import shapes
from testcluster.kubectl import Kubectl

pytestmark = pytest.mark.apiserver
FILE = Path(str(files("disagg_operator.api.kubernetes").joinpath("shapes.json")))


def test_the_table_is_what_the_api_server_says(kubectl: Kubectl) -> None:
    found = shapes(json.loads(kubectl.text("get", "--raw", "/openapi/v3/api/v1")))
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(shape)}" for name, shape in found.items())
    if os.environ.get("UPDATE_GOLDEN"):
        FILE.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    assert FILE.read_text(encoding="utf-8") == f"{{\n{lines}\n}}\n", "UPDATE_GOLDEN=1 writes it anew"


def test_what_is_known_besides_is_of_fields_that_there_are() -> None:
    for shape, field in (*forms.FORMS, *forms.KEYS):
        assert field in known()[shape]["fields"], (shape, field)
