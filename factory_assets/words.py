"""How is a number of things put into words?"""


def counted(number: int, noun: str, plural: str = "") -> str:
    """The number with its noun, in the plural unless it is one: "1 day", "7 new labelled days". plural: if not with an s."""
    return f"{number} {noun}" if number == 1 else f"{number} {plural or f'{noun}s'}"
