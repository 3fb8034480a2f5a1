"""What do all declarations share? Strict fields, validated names, durations."""

import datetime as dt
import re
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SerializerFunctionWrapHandler,
    StringConstraints,
    WithJsonSchema,
    model_serializer,
)

NAME = re.compile(r"[a-z][a-z0-9_]*")
COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
PASSWORD = re.compile(r"(://[^:/@\s]*):\S*@|((?:ssl)?password=)[^&\s'\"]*", re.IGNORECASE)
DURATION = re.compile(r"(\d+)([smhdw])")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

#: A window that holds all of an entity's past: longer than any stream is old.
EVER = dt.timedelta(days=36_525)

#: The column that identifies an event by the file and the line that brought it, of a stream whose id is `{file_line: true}`.
FILE_LINE = "_file_line"

#: The times of every event, in UTC, as all tables of events call them.
TIMES = ("event_time", "known_at")
#: Columns that the factory itself adds to a stream's tables, and the one by which DuckDB numbers the rows of any table; a
#: stream may not use these names for anything else.
RESERVED = frozenset(
    {"ds", "event_time", "known_at", "superseded_at", "event_day", "rule", "excluded", "duplicate", "rowid"}
    | {"_source", "_line", "_unparsed", "_undeclared", "_failed", "_rule", "_excluded", "_repeated", "_again", "_day"}
    | {"_original", "_elsewhere", "_cleansed", "_was"}
    | {"_event_time", "_known_at"}
    | {FILE_LINE}
)


def reserved(name: str) -> bool:
    """Whether a name is one of the factory's own columns, in whatever case: tables take names that differ in case alone for one."""
    return name.lower() in RESERVED


Name = Annotated[
    str,
    StringConstraints(pattern=f"^{NAME.pattern}$", max_length=60),
]
#: What something is measured in. `1` is one too, and in YAML a number.
Unit = Annotated[str, Field(min_length=1, max_length=40, coerce_numbers_to_str=True)]
ColumnName = Annotated[str, StringConstraints(pattern=f"^{COLUMN.pattern}$", max_length=120)]


def masked(text: str) -> str:
    """The text with the passwords of addresses in it covered: postgresql://ana:***@host/shop."""
    return PASSWORD.sub(lambda found: f"{found[1]}:***@" if found[1] is not None else f"{found[2]}***", text)


def parse_duration(text: Any) -> dt.timedelta:
    """'7d' -> seven days. Units: s, m, h, d, w; whole numbers only.

    Raises ValueError with the value found and what is allowed.
    """
    if isinstance(text, dt.timedelta):
        return text
    match = DURATION.fullmatch(str(text))
    if not match:
        raise ValueError(f"{text!r} is not a duration; write a whole number and a unit of s, m, h, d or w, such as 7d")
    seconds = int(match[1]) * SECONDS[match[2]]
    if seconds > EVER.total_seconds():  # no calendar reaches as far back as a few thousand years before a day
        raise ValueError(
            f"{text!r} is longer than {EVER.days}d, a hundred years; a view's window of all the past is called ever"
        )
    return dt.timedelta(seconds=seconds)


def format_duration(span: dt.timedelta) -> str:
    """The shortest spelling that `parse_duration` reads back, weeks apart: 7 days is '7d'."""
    if span == EVER:
        return "ever"
    seconds = int(span.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % SECONDS[unit] == 0:
            return f"{seconds // SECONDS[unit]}{unit}"
    return f"{seconds}s"


def whole_days(span: dt.timedelta) -> int:
    """Days that contain the span: 7d -> 7, 1h -> 1, 0 -> 0."""
    return -(-int(span.total_seconds()) // SECONDS["d"])


def check_some_time(value: dt.timedelta) -> dt.timedelta:
    if value <= dt.timedelta(0):
        raise ValueError("must be longer than 0, such as 7d")
    return value


def check_whole_days(value: dt.timedelta) -> dt.timedelta:
    if value < dt.timedelta(days=1) or value % dt.timedelta(days=1):
        raise ValueError("must be one or more whole days, such as 28d")
    return value


Duration = Annotated[
    dt.timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^{DURATION.pattern}$", "examples": ["1h", "7d", "4w"]}),
]
#: A duration of which zero would mean nothing, or something else than it says.
SomeTime = Annotated[Duration, AfterValidator(check_some_time)]
WholeDays = Annotated[Duration, AfterValidator(check_whole_days)]


def parse_window(text: Any) -> dt.timedelta:
    """A duration, or 'ever'."""
    return EVER if text == "ever" else parse_duration(text)


Window = Annotated[
    dt.timedelta,
    BeforeValidator(parse_window),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": f"^({DURATION.pattern}|ever)$", "examples": ["1h", "7d", "ever"]}),
]
#: One column, or several that identify something together.
Keys = Annotated[
    tuple[ColumnName, ...],
    BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    PlainSerializer(lambda value: value[0] if len(value) == 1 else list(value), when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{COLUMN.pattern}$"},
                {"type": "array", "items": {"type": "string", "pattern": f"^{COLUMN.pattern}$"}, "minItems": 1},
            ],
            "examples": ["customer_id", ["origin", "destination"]],
        }
    ),
]


def parse_id(value: Any) -> Any:
    """The column that identifies an event: a name, or that of {file_line: true}. Raises ValueError for anything else."""
    if value == {"file_line": True} and value["file_line"] is True:
        return FILE_LINE
    if not isinstance(value, str) or value == FILE_LINE:
        raise ValueError(f"{value!r} is no id; allowed: the name of a column, or {{file_line: true}}")
    return value


#: What identifies an event: a column, or else the line of a file.
Id = Annotated[
    ColumnName,
    BeforeValidator(parse_id),
    PlainSerializer(lambda value: {"file_line": True} if value == FILE_LINE else value, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": f"^{COLUMN.pattern}$"},
                {
                    "type": "object",
                    "properties": {"file_line": {"const": True}},
                    "required": ["file_line"],
                    "additionalProperties": False,
                },
            ],
            "examples": ["order_id", {"file_line": True}],
        }
    ),
]


class Declared(BaseModel):
    """A part of a declaration: unknown fields are refused, values do not change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Grown(Declared):
    """A part of the language that has grown: its later fields are written out only where they say something.

    So a declaration that leaves them open keeps the id that it had before they were there.
    """

    later: ClassVar[frozenset[str]] = frozenset()

    @model_serializer(mode="wrap")
    def _without_what_is_left_open(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        left_open = {
            name for name in self.later if getattr(self, name) == fields[name].get_default(call_default_factory=True)
        }
        return {name: value for name, value in handler(self).items() if name not in left_open}
