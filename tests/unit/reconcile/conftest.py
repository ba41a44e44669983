"""What the tests of reconciling share."""

import pytest


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Only errors are logged: thousands of steps would fill the report of a failure."""
    caplog.set_level("ERROR", logger="disagg_operator")
