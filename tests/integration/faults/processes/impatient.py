"""An operator process that gives a silent watch up after `QUIET_SECONDS`; in all else it is the real one.

The real limit is longer than the minute between two bookmarks, and no test of every run waits for that.
"""

import kopf

from disagg_operator.runtime import glue, main, reflector

QUIET_SECONDS = 4.0


def impatient_settings() -> kopf.OperatorSettings:
    """Return kopf's settings as they are, but for the limit."""
    settings = settings_of()
    settings.watching.inactivity_timeout = QUIET_SECONDS
    return settings


settings_of = glue.settings_of

if __name__ == "__main__":
    vars(reflector)["QUIET_SECONDS"] = QUIET_SECONDS
    vars(glue)["settings_of"] = impatient_settings
    main.main()
