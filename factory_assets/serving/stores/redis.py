"""A Redis as a serving store: a hash an entity. Each is of one snapshot; while an export runs, some are of the next.

An export claims the view first: its number stands in the watermark, and every batch is a script that writes only while
it stands there. So one that was overtaken by a newer export cannot write any more, however long it has slept. The
members of a view are a sorted set by the number of the export that wrote them last, and those of earlier ones have left.

    <prefix>:<view>:<entity>      hash: a field a feature that has a value, as_of, table_version; numbers as text
    <prefix>:_members:<view>      sorted set of the entities
    <prefix>:_watermark:<view>    hash: what was written in full, the claim, and the type of each column as JSON

An entity of several keys is written `AA:JFK`, with %3A for a colon in a key and %25 for a per cent sign: so no two
entities are written alike. The watermark then holds the keys' types too, for an integer 1 and a text '1' look the same.

A view's name begins with a letter, so no entity can take the place of the last two. Scripts reach keys that they do not
name beforehand: it is one server and its replicas, not a cluster.
"""

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from factory_assets.declarations.base import masked
from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.serving import RedisServing
from factory_assets.serving.stores.base import (
    AS_OF,
    Exported,
    Snapshot,
    Store,
    StoreError,
    Watermark,
    refuse_older,
    together,
)

if TYPE_CHECKING:
    import redis

#: Entities of one script, or of one round of reading. Others wait while a script runs: 4 ms with 12 features, measured.
BATCH = 200
#: Seconds until a server that does not answer is given up.
PATIENCE, SILENCE = 10, 60
OVERTAKEN = "OVERTAKEN"

GUARD = f"""
if redis.call('HGET', KEYS[1], 'claim') ~= ARGV[1] then return redis.error_reply('{OVERTAKEN}') end
"""
#: claim, beginning of the keys, as_of, table_version, names of features, rows of [entity, [text or null, ...]]
WRITE = (
    GUARD
    + """
local names = cjson.decode(ARGV[5])
local written, changed = 0, 0
for _, row in ipairs(cjson.decode(ARGV[6])) do
  local key, held, fields = ARGV[2] .. row[1], {}, 0
  local found = redis.call('HGETALL', key)
  for place = 1, #found, 2 do
    held[found[place]] = found[place + 1]
    fields = fields + 1
  end
  if not (held.as_of and held.as_of > ARGV[3]) then
    local given, same = {'as_of', ARGV[3], 'table_version', ARGV[4]}, held.as_of ~= nil
    for place, name in ipairs(names) do
      local value = row[2][place]
      if value ~= cjson.null then
        given[#given + 1] = name
        given[#given + 1] = value
        same = same and held[name] == value
      end
    end
    same = same and fields * 2 == #given
    if not same then
      redis.call('DEL', key)
      redis.call('HSET', key, unpack(given))
      changed = changed + 1
      written = written + 1
    elseif held.as_of ~= ARGV[3] then
      redis.call('HSET', key, 'as_of', ARGV[3], 'table_version', ARGV[4])
      written = written + 1
    end
  end
  redis.call('ZADD', KEYS[2], ARGV[1], row[1])
end
return {written, changed}
"""
)
#: claim, beginning of the keys, how many at most
REMOVE = (
    GUARD
    + """
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[1], 'LIMIT', 0, ARGV[3])
for _, entity in ipairs(gone) do redis.call('DEL', ARGV[2] .. entity) end
if #gone > 0 then redis.call('ZREM', KEYS[2], unpack(gone)) end
return #gone
"""
)
#: claim, then fields and values of the watermark
FINISH = GUARD + "return redis.call('HSET', KEYS[1], unpack(ARGV, 2))"


class Redis(Store[RedisServing]):
    connection: "redis.Redis"

    @classmethod
    @contextmanager
    def opened(cls, declared: RedisServing) -> Iterator[Self]:
        try:
            import redis
        except ImportError:
            raise StoreError("a Redis is served only with the extra: pip install 'model-factory[redis]'") from None

        client = redis.Redis.from_url(
            declared.url, decode_responses=True, socket_connect_timeout=PATIENCE, socket_timeout=SILENCE
        )
        try:
            yield cls(declared, client)
        finally:
            client.close()

    def write(self, snapshot: Snapshot) -> Exported:
        view = snapshot.view
        keys, before = [self._key("_watermark", view), self._key("_members", view)], self._key(view, "")
        with self._speaking():
            claim = self._claim(snapshot)
            write, remove, finish = map(self.connection.register_script, (WRITE, REMOVE, FINISH))
            written = changed = removed = 0
            names = json.dumps(snapshot.features)
            for rows in _rows(snapshot):
                sent: list[Any] = [claim, before, snapshot.as_of.isoformat(), snapshot.table_version, names, rows]
                counted: Any = write(keys, sent)
                written, changed = written + counted[0], changed + counted[1]
            while gone := int(remove(keys, [claim, before, BATCH])):  # type: ignore[arg-type]
                removed += gone
            mark: dict[str, Any] = {
                AS_OF: snapshot.as_of.isoformat(),
                "table_version": snapshot.table_version,
                "rows": snapshot.content.rows,
                "content_hash": snapshot.content.hash,
                "written_at": dt.datetime.now(dt.UTC).isoformat(),
            }
            finish(keys, [claim, *(part for field in mark.items() for part in field)])
        return Exported(snapshot.content.rows, written, changed, removed)

    def read(self, view: str, entities: Sequence[Any]) -> dict[Any, dict[str, Any]]:
        features: dict[Any, dict[str, Any]] = {}
        for start in range(0, len(entities), BATCH):
            asked = entities[start : start + BATCH]
            with self._speaking(), self.connection.pipeline(transaction=False) as pipe:
                pipe.hmget(self._key("_watermark", view), ["columns", "entity"])
                for entity in asked:
                    pipe.hgetall(self._key(view, _text(entity)))
                (columns, keys), *rows = pipe.execute()
            if columns is None:
                raise StoreError(f"{masked(self.declared.url)} holds no {view}: materialise serving/{view} first")
            kinds = json.loads(columns)
            with self._speaking():
                somebody = set(together(view, dict(json.loads(keys)), asked)) if keys else asked
            for entity, row in zip(asked, rows, strict=True):
                if row and entity in somebody:
                    features[entity] = {name: self._value(view, entity, kind, row.get(name)) for name, kind in kinds}
                    features[entity][AS_OF] = self._value(view, entity, "timestamptz", row.get(AS_OF))
        return features

    def count(self, view: str) -> int:
        with self._speaking():
            return int(self.connection.zcard(self._key("_members", view)))  # type: ignore[arg-type]

    def watermark(self, view: str) -> Watermark | None:
        with self._speaking():
            mark: Any = self.connection.hgetall(self._key("_watermark", view))
        if AS_OF not in mark:
            return None
        as_of, written_at = (dt.datetime.fromisoformat(mark[name]) for name in (AS_OF, "written_at"))
        return Watermark(as_of, int(mark["table_version"]), int(mark["rows"]), mark["content_hash"], written_at)

    def _key(self, *parts: str) -> str:
        return ":".join((self.declared.prefix, *parts))

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        import redis

        where = masked(self.declared.url)
        try:
            yield
        except StoreError as error:
            raise StoreError(f"{where} {error}") from None
        except redis.RedisError as error:
            if OVERTAKEN in str(error):
                raise StoreError(f"{where} was given a newer export meanwhile; this one ends unfinished") from None
            raise StoreError(f"{where} {self.declared.prefix}: {masked(str(error))}") from None

    def _claim(self, snapshot: Snapshot) -> int:
        """The number of this export, larger than all before. Raises StoreError where a newer one was begun."""
        key = self._key("_watermark", snapshot.view)
        columns = [[name, snapshot.columns[name]] for name in snapshot.features]

        def claim(pipe: Any) -> int:
            mark, (seconds, microseconds) = pipe.hgetall(key), pipe.time()
            if "claim" in mark:
                begun = dt.datetime.fromisoformat(mark["claimed_as_of"])
                refuse_older(snapshot, begun, int(mark["claimed_version"]), f"DEL {key}")
            # By the clock, so that the numbers go on where the watermark was deleted.
            number = max(seconds * 1_000_000 + microseconds, int(mark.get("claim", 0)) + 1)
            pipe.multi()
            given = {
                "claim": number,
                "claimed_as_of": snapshot.as_of.isoformat(),
                "claimed_version": snapshot.table_version,
                "columns": json.dumps(columns),
            }
            pipe.hdel(key, "entity")
            if len(snapshot.entity) > 1:
                given["entity"] = json.dumps(list(snapshot.keys.items()))
            pipe.hset(key, mapping=given)
            return number

        return int(self.connection.transaction(claim, key, value_from_callable=True))  # type: ignore[arg-type]

    def _value(self, view: str, entity: Any, kind: str, text: str | None) -> Any:
        if text is None:
            return None
        try:
            return PARSED[kind](text)
        except (ValueError, KeyError):
            key = self._key(view, _text(entity))
            raise StoreError(f"{masked(self.declared.url)} {key} holds {text!r}, which is no {kind}") from None


PARSED: dict[str, Any] = {
    "boolean": {"true": True, "false": False}.__getitem__,
    "integer": int,
    "double": float,
    "string": str,
    "date": dt.date.fromisoformat,
    "timestamp": dt.datetime.fromisoformat,
    "timestamptz": dt.datetime.fromisoformat,
}


def _rows(snapshot: Snapshot) -> Iterator[str]:
    """Batches of rows as JSON: [[entity, [value, ...]], ...], values as text, which reads back to the same value."""
    keys = ", ".join(map(identifier, snapshot.entity))
    texts = ", ".join(f"CAST({identifier(name)} AS VARCHAR)" for name in snapshot.features)
    several = len(snapshot.entity)
    for batch in snapshot.batches(f"{keys}, {texts}", BATCH):
        columns = [column.to_pylist() for column in batch.columns]
        entities = zip(*columns[:several], strict=True) if several > 1 else columns[0]
        rows = zip(map(_text, entities), zip(*columns[several:], strict=True), strict=True)
        yield json.dumps(list(rows), ensure_ascii=False)


def _text(entity: Any) -> str:
    """An entity as part of a key: what a server asks for must be written as what was exported."""
    if isinstance(entity, tuple):
        return ":".join(_text(key).replace("%", "%25").replace(":", "%3A") for key in entity)
    return str(entity).lower() if isinstance(entity, bool) else str(entity)
