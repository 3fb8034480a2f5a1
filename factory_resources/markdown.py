"""How does a text come out as it is written, where a page reads it as Markdown?

Dagster's pages do so with the descriptions of checks and of observations, MLflow's with those of models. What people write and
feeds deliver would be taken for emphasis and links there, and an image in it would be fetched from wherever it says, by everybody
who looks.
"""

import re

BLANKS = re.compile(r"(?<![^\r\n])[ \t]+")
#: What makes a heading, a quotation, a list, a rule or a table of a line that begins with it; of a number, the point behind it.
AT_A_LINE_S_START = r"(?<![^\r\n])(?:[#>+=|:-]|(?P<number>\d{1,9})[.)](?=\s|$))"
#: What begins something wherever it stands; `_` only at the edge of a word, a backslash and `&` only before what they would change.
ANYWHERE = r"[`*\[\]<~]|(?<![^\W_])_|_(?![^\W_])|\\(?=[!-/:-@\[-`{-~\r\n]|$)|&(?=#?\w+;)"
MARKUP = re.compile(f"{AT_A_LINE_S_START}|{ANYWHERE}")


def literal(text: str) -> str:
    """The text with a backslash before what Markdown would read as its own; an ordinary sentence is as it was.

    >>> literal("mae of habit.mean_x_2d of FR/Lyon: 8.1"), literal("see ![x](http://x.org/p.png)")
    ('mae of habit.mean_x_2d of FR/Lyon: 8.1', 'see !\\\\[x\\\\](http://x.org/p.png)')
    """
    # Blanks at the start of a line would make a block of code of it, and no page shows them.
    return MARKUP.sub(_escaped, BLANKS.sub("", text))


def block(text: str, language: str = "") -> str:
    """The text as a block of code, whatever fences it has itself.

    >>> block("a: 1\\n", "yaml"), block("```")
    ('```yaml\\na: 1\\n```', '````\\n```\\n````')
    """
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.removesuffix(chr(10))}\n{fence}"


def _escaped(found: re.Match[str]) -> str:
    number = found["number"] or ""
    return f"{number}\\{found[0].removeprefix(number)}"
