"""How is a number of things put into words?"""


def counted(number: int, noun: str) -> str:
    """The number with its noun, in the plural unless it is one: "1 day", "7 new labelled days"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
