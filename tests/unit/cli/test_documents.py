"""What the command line writes as YAML: to be read by people, and the same again for programs."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.cli import documents


def test_scripts_are_blocks_whatever_letters_they_have() -> None:
    script = "#!/bin/sh\n# waits → at most 5 s…\nfor each in a b; do\n  echo \"$each\" '日本'\ndone\n"
    written = documents.write([{"data": {"run.sh": script, "name": "é"}}])
    assert written.splitlines() == [
        "---",
        "data:",
        "  run.sh: |",
        *(f"    {line}" for line in script.splitlines()),
        "  name: é",
    ]


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\x85", "\u202e", "\u2028", "\x00", "\ufeff"])
def test_what_is_not_printed_is_escaped(hidden: str) -> None:
    written = documents.write([{"text": f"a{hidden}b\nc → d\n"}])
    assert hidden not in written


@given(
    st.recursive(
        st.text() | st.text("ab \n\t#:-→…\x85\u2028'\"|", max_size=30),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
        max_leaves=6,
    )
)
def test_what_is_written_is_read_back(document: object) -> None:
    assert list(yaml.safe_load_all(documents.write([document]))) == [document]
