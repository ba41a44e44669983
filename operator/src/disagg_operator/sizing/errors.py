"""What cannot be sized: a sentence that names the option, what is wrong and what to write instead."""


class SizingError(ValueError):
    """The question cannot be answered as it was asked."""
