"""Text of users on its way into messages: one line that can be printed, and no longer than can be read."""


def readable(text: str, longest: int) -> str:
    """Return text as one printable line.

    What is not printable (line breaks, escape sequences, marks that turn the direction of writing) is spelt
    as in a Python string.

    Args:
        text: any text.
        longest: the most characters of it that are kept; a dot dot dot stands for those in the middle.
    """
    if len(text) > longest:
        text = f"{text[: longest // 2]}…{text[len(text) - longest // 2 :]}"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _spelt(each) for each in text)


def _spelt(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def counted(number: int, word: str) -> str:
    """Return a number of things as people say it: ``1 pod``, ``2 pods``.

    Args:
        number: how many.
        word: what one is called. Its plural ends in s.
    """
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
