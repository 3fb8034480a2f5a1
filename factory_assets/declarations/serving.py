"""Where do servers find the newest features of an entity? The `serve` part of a `FeatureView` declaration."""

from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from factory_assets.declarations.base import Declared, Name, masked
from factory_assets.declarations.stream import postgres_address

#: Columns that the factory adds to a served row.
OURS = ("as_of", "table_version")
#: PostgreSQL cuts longer names off without a word: two features could become one.
POSTGRES_NAME = 63
#: Columns that every table of PostgreSQL's has.
POSTGRES_OWN = ("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid")


class PostgresServing(Declared):
    """A table <schema>.<view> of a PostgreSQL database: a row an entity, a column a feature, and one for each key of an entity."""

    kind: Literal["postgres"]
    url: str = Field(
        repr=False,
        description="postgresql://user:password@host/database, best as {{ env.NAME }}. The password appears in no message.",
    )
    # A field `schema` would hide pydantic's own.
    schema_: Name = Field("features", alias="schema", description="Schema of the table; made if it is not there.")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        return postgres_address(value)

    @field_validator("schema_")
    @classmethod
    def _is_not_the_servers(cls, value: str) -> str:
        if value.startswith("pg_") or value == "information_schema":
            raise ValueError(f"{value!r} is PostgreSQL's own; choose another name")
        return value

    @property
    def place(self) -> str:
        """Where the rows go, without the password: another target is another declaration."""
        return f"{masked(self.url)} {self.schema_}"

    def check(self, entity: Sequence[str], features: Sequence[str]) -> list[str]:
        """Mistakes in the names of an entity and of features that a table cannot have."""
        columns = [*entity, *features]
        problems = [
            f"{name!r} is a column that the table has already; name the entity otherwise by derive"
            for name in columns
            if name in (*OURS, *POSTGRES_OWN)
        ]
        return problems + [
            f"{name!r} has {len(name)} characters; allowed for a column of PostgreSQL: {POSTGRES_NAME}"
            for name in columns
            if len(name) > POSTGRES_NAME
        ]


class RedisServing(Declared):
    """A hash <prefix>:<view>:<entity> an entity in a Redis server, a field a feature; of several keys <entity> is key:key."""

    kind: Literal["redis"]
    url: str = Field(
        repr=False,
        description="redis://user:password@host:port/number, rediss:// or unix://, best as {{ env.NAME }}. The password "
        "appears in no message.",
    )
    # Without a colon, so that no two views share a key.
    prefix: Name = Field("features", description="First part of every key.")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if "{{" in value:
            return value  # Dagster reads a declaration before its templates are filled in, and we once more after
        scheme, _, rest = value.partition("://")
        if scheme not in ("redis", "rediss", "unix"):
            raise ValueError("must begin with redis://, rediss:// or unix://")
        if rest.partition("?")[0].count("@") > 1:
            raise ValueError("has more than one @ before the host; write those of a password as %40")
        try:
            parts = urlsplit(value)
            port_is_one = parts.port is None or parts.port > 0
        except ValueError:
            port_is_one = False
        if not port_is_one:
            # The parser's message quotes parts of the URL.
            raise ValueError("is no URL; write / : and @ of a password as %2F, %3A and %40")
        # The client would take the database 0 for any that it does not understand.
        if scheme != "unix" and not parts.path.strip("/").isdecimal() and parts.path.strip("/"):
            raise ValueError("must end in the number of a database, such as redis://host:6379/0")
        return value

    @property
    def place(self) -> str:
        """Where the rows go, without the password: another target is another declaration."""
        return f"{masked(self.url)} {self.prefix}"

    def check(self, entity: Sequence[str], features: Sequence[str]) -> list[str]:
        """Mistakes in the names of features that a hash cannot have; an entity's names are in no hash."""
        return [f"{name!r} is a field that every row has; name it otherwise" for name in features if name in OURS]


Serving = Annotated[PostgresServing | RedisServing, Field(discriminator="kind")]
