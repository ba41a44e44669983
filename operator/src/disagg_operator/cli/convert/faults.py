"""Why a graph cannot be converted."""


class ConversionError(Exception):
    """A graph that has no DisaggDeployment. The message says why and what to do, without a stack trace."""
