"""The error of the user's making; apart from what checks a configuration, so that it costs no import."""


class ConfigError(Exception):
    """The configuration cannot be used; the text lists every fault, one a line."""
