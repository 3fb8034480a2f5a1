"""May a PostgreSQL be asked this? One SELECT that only reads tables, and that answers the same at any time.

A query is text of a declaration, and runs with the rights of the role that reads the source. A superuser's function can read the
server's files, and one that asks for the time makes a day's rows depend on when they are read. So a query may call functions of
PostgreSQL that only compute, and no others: a list of those that do harm would never be whole.
"""

import re

import sqlglot
from sqlglot import exp

from factory_assets.declarations import expressions

#: Functions of PostgreSQL that compute from their arguments alone, with the session's zone and formats, which are fixed.
FUNCTIONS = """
    abs acos asin atan atan2 cbrt ceil ceiling cos cosh cot degrees div exp factorial floor gcd lcm ln log log10 min_scale mod pi
    pow power radians round scale sign sin sinh sqrt tan tanh trim_scale trunc width_bucket
    ascii bit_length btrim casefold char_length character_length chr concat concat_ws convert_from convert_to decode encode format
    initcap left length lower lpad ltrim md5 normalize octet_length overlay position quote_ident quote_literal regexp_count
    regexp_instr regexp_like regexp_match regexp_matches regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr
    repeat replace reverse right rpad rtrim sha224 sha256 sha384 sha512 split_part starts_with string_to_array string_to_table
    strpos substr substring to_char to_number translate trim unistr upper
    age date date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days justify_hours justify_interval
    make_date make_interval make_time make_timestamp make_timestamptz overlaps timezone to_date to_timestamp
    coalesce greatest grouping least nullif num_nonnulls num_nulls row cast case exists any all some
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every json_agg json_object_agg
    jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc range_agg regr_avgx regr_avgy regr_count
    regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum var_pop var_samp
    variance
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
    array array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_to_json array_to_string array_upper cardinality generate_series
    generate_subscripts trim_array unnest
    json_array_elements json_array_elements_text json_array_length json_build_array json_build_object json_each json_each_text
    json_extract_path json_extract_path_text json_object json_object_keys json_strip_nulls json_typeof jsonb_array_elements
    jsonb_array_elements_text jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_extract_path jsonb_extract_path_text jsonb_object jsonb_object_keys jsonb_path_exists jsonb_path_match jsonb_path_query
    jsonb_path_query_array jsonb_path_query_first jsonb_pretty jsonb_set jsonb_strip_nulls jsonb_typeof row_to_json to_json
    to_jsonb
    daterange int4range int8range isempty lower_inc lower_inf numrange range_merge tsrange tstzrange upper_inc upper_inf
    host masklen netmask network get_bit get_byte set_bit set_byte bit_count crc32
"""
PURE = frozenset(FUNCTIONS.split())
#: Words without parentheses that PostgreSQL answers by who asks, where and when.
ASKED = frozenset(
    [
        *("user", "current_user", "session_user", "system_user", "current_role", "current_catalog", "current_schema"),
        *("current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"),
    ]
)
#: PostgreSQL's own tables: passwords, settings, files, what others do now.
CATALOGUES = re.compile(r"pg_|information_schema$", re.IGNORECASE)
#: A text that is another time each day wherever PostgreSQL reads it as one.
MOVING = re.compile(r"\b(?:now|today|tomorrow|yesterday)\b", re.IGNORECASE)
#: A word that no time has beside it: it has names of zones, and of the hour, which are short or `allballs`. So what stands around may
#: be anything: brackets of a range, braces of an array.
OTHER = re.compile(r"\b(?!allballs\b|yesterday\b|tomorrow\b)[a-z]{6,}\b", re.IGNORECASE)
#: What a text may be written as: 'now', e'now', u&'now'.
TEXTS = (exp.ByteString, exp.UnicodeString, exp.RawString, exp.National)
#: Characters of a query that a message shows.
SHOWN = 60
CALL = re.compile(r'"?([A-Za-z_]\w*)"?\s*\(')
#: Where a text that is told to be one stays one.
PATTERNS = (exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike)
COMPARED = (exp.EQ, exp.NEQ, exp.In, exp.Select, exp.Alias)


def select(text: str) -> str:
    """The query, written out again from its tree. Raises ValueError for one that does more than read, or asks for the time."""
    written = expressions.select(text)
    for part in sqlglot.parse_one(written, dialect="postgres").walk():
        if reason := _unfit(part):
            shown = " ".join(part.sql(dialect="postgres").split())
            start = " ".join(text.split())
            raise ValueError(
                f"{start if len(start) <= SHOWN else start[:SHOWN] + '...'!r} holds {shown!r}: {reason}; it may only read, and "
                "give the same rows at any time"
            )
    return written


def _unfit(part: exp.Expr) -> str | None:
    """Why a part of a query may not be in it, None if it may."""
    if isinstance(part, exp.Func):
        return _unfit_call(part)
    if isinstance(part, exp.Column) and not part.this.args.get("quoted") and part.name.lower() in ASKED:
        return None if part.table else "that is answered by who asks, and when"
    if isinstance(part, exp.Table) and isinstance(part.this, exp.Identifier):
        return "that is no table of yours" if CATALOGUES.match(part.db or part.name) else None
    if isinstance(part, exp.Operator):
        return "an operator of a schema's own may do anything"
    is_text = isinstance(part, TEXTS) or (isinstance(part, exp.Literal) and part.is_string)
    if is_text and MOVING.search(part.name) and not OTHER.search(_without_zones(part.name)) and not _stays_text(part):
        return f"PostgreSQL may read it as a time; write '{part.name}'::text where it is none"
    return None


def _without_zones(text: str) -> str:
    """The text without names of zones such as America/New_York."""
    return re.sub(r"\b[A-Za-z_]+/[A-Za-z_/]+\b", " ", text)


def _unfit_call(part: exp.Func) -> str | None:
    if isinstance(part, exp.Binary):
        return None  # an operator; what it stands between is looked at by itself
    sql = part.sql(dialect="postgres")
    found = CALL.match(sql)
    if found is None and isinstance(part, exp.Anonymous):
        return "it may call functions of PostgreSQL that only compute, and none of them has such a name"
    if found is None:
        # An operator, or a word of its own.
        return "that is answered by who asks, and when" if sql.lower() in ASKED else None
    name, around = found[1].lower(), part.parent
    schema = around.this.name if isinstance(around, exp.Dot) and around.this is not part else ""
    if isinstance(around, exp.Table):
        schema = around.db
    if name not in PURE or schema not in ("", "pg_catalog"):
        return "it may call functions of PostgreSQL that only compute; make a view of what needs another, and read that"
    if name == "age" and len(part.expressions) < 2:
        return "it counts from today"
    return None


def _stays_text(part: exp.Expr) -> bool:
    """Whether a text is a pattern, or written as 'today'::text and compared, or handed on, as that."""
    cast = part.parent
    return isinstance(cast, PATTERNS) or (
        isinstance(cast, exp.Cast) and cast.to.is_type(*exp.DataType.TEXT_TYPES) and isinstance(cast.parent, COMPARED)
    )
