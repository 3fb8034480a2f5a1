"""Is every fault of a declaration found when it is read, with its line and what would be right? All of them at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from factory_assets.components.components import ModelLine
from factory_assets.declarations import catalogue
from factory_assets.declarations.catalogue import Catalogue, load
from factory_assets.declarations.contract import Contract
from factory_assets.declarations.documents import DeclarationError
from factory_assets.declarations.line import Line
from factory_assets.declarations.templates import render

CONTRACT = """\
columns:
  order_id: {type: integer}
  customer: {type: integer}
  city: {type: string, allowed: [Lyon, Oslo]}
  placed: {type: timestamp}
  amount: {type: double, min: 0, unit: EUR}
  returned: {type: boolean, nullable: true}
"""
STREAM = """\
type: factory_assets.components.EventStream
attributes:
  name: orders
  owner: team:x
  description: Orders.
  source: {kind: parquet, uri: "/data/*.parquet"}
  id: order_id
  event_time: placed
  start: 2024-01-01
  derive:
    hour: hour(placed)
  rules:
    large: amount > 100
"""
VIEW = """\
type: factory_assets.components.FeatureView
attributes:
  name: habit
  stream: orders
  entity: customer
  owner: team:x
  description: Habits.
  windows: [1d, 7d]
  features:
    n: count()
    spent: sum(amount)
"""
LINE = """\
type: factory_assets.components.ModelLine
attributes:
  name: returns
  owner: team:x
  description: Will it come back?
  task: binary
  observe: {stream: orders, where: large, carry: [city]}
  label: {expression: returned, delay: 7d}
  features:
    - amount
    - habit.*
  segments: {levels: [city]}
  train: {window: 28d, holdout: 7d}
  candidates:
    plain: {estimator: logistic_regression}
"""
ENTITY_LINE = """\
type: factory_assets.components.ModelLine
attributes:
  name: again
  owner: team:x
  description: Will they order again?
  task: binary
  observe: {stream: orders, entity: customer, every: 1d}
  label: {event: orders, within: 7d, where: large}
  features: [habit.n_7d]
  train: {window: 28d, holdout: 7d}
  candidates:
    plain: {estimator: logistic_regression}
"""
DOCUMENTS = {"stream": STREAM, "view": VIEW, "line": LINE, "entity_line": ENTITY_LINE}
#: Line of the file on which each document begins.
OFFSETS = {name: sum(len(text.splitlines()) + 1 for text in list(DOCUMENTS.values())[:place])
          for place, name in enumerate(DOCUMENTS)}  # fmt: skip


def written(folder: Path, documents: dict[str, str], contract: str | None = CONTRACT) -> Path:
    (folder / "defs.yaml").write_text("---\n".join(documents.values()))
    if contract is not None:
        (folder / "contract.yaml").write_text(contract)
    return folder


def problems(folder: Path) -> list[str]:
    """What is wrong with the declarations of a folder: 'line: where: message', the file's name if it is not defs.yaml."""
    with pytest.raises(DeclarationError) as error:
        load(folder, render)
    assert str(error.value) == "\n".join(map(str, error.value.problems))
    told = [str(problem).removeprefix(f"{folder}/defs.yaml:") for problem in error.value.problems]
    return [one.replace(f"{folder}/", "") for one in told]


def test_sound_declarations_are_read_with_everything_that_they_stand_on(tmp_path: Path) -> None:
    known = load(written(tmp_path, DOCUMENTS))
    assert (list(known.streams), list(known.views), list(known.lines)) == (["orders"], ["habit"], ["returns", "again"])
    resolved = known.resolve(known.lines["returns"])
    assert resolved.features == ["amount", "habit.n_1d", "habit.n_7d", "habit.spent_1d", "habit.spent_7d"]
    assert resolved.carried == ["city"]
    assert resolved.reach_days == 7
    assert known.streams["orders"].types == {
        "order_id": "BIGINT", "customer": "BIGINT", "city": "VARCHAR", "placed": "TIMESTAMP", "amount": "DOUBLE",
        "returned": "BOOLEAN", "hour": "BIGINT", "large": "BOOLEAN", "event_time": "TIMESTAMP", "known_at": "TIMESTAMP",
    }  # fmt: skip


#: document, text in it, what a person wrote instead, number of the line in the document, part of the answer.
FAULTS: list[tuple[str, str, str, int, str]] = [
    # a field that does not exist, lacks, or holds what it cannot
    ("stream", "  event_time: placed", "  event_tim: placed", 8,
     "unknown field 'event_tim'; allowed: name, owner, description, source, id, event_time"),
    ("stream", "uri: ", "url: ", 6, "unknown field 'url'; allowed: kind, uri"),
    ("stream", "kind: parquet", "kind: parket", 6,
     "'parket' found using 'kind' does not match any of the expected tags: 'parquet', 'csv', 'postgres', 'simulation'"),
    ("stream", "2024-01-01", "2024-02-30", 9, "attributes.start: Input should be a valid date"),
    ("stream", "owner: team:x", "owner: anna", 4, "'anna' is not an owner; allowed: team:<name> or an e-mail address"),
    ("stream", "name: orders", "name: Orders", 3, "attributes.name: String should match pattern '^[a-z][a-z0-9_]*$'; found 'Orders'"),
    ("view", "windows: [1d, 7d]", "windows: [1d, 7days]", 8,
     "attributes.windows.1: '7days' is not a duration; write a whole number and a unit of s, m, h, d or w"),
    ("view", "windows: [1d, 7d]", "windows: [1d, 9999999999d]", 8, "'9999999999d' is longer than 36525d, a hundred years"),
    ("view", "windows: [1d, 7d]", "windows: [1d, 400000d]", 8, "'400000d' is longer than 36525d, a hundred years"),
    ("view", "windows: [1d, 7d]", "windows: [1w, 7d]", 8, "windows must be longer than zero and differ from each other"),
    ("view", "windows: [1d, 7d]", "windows: []", 8, "at least 1 item"),
    ("view", "entity: customer\n", "entity: customer\n  default: .inf\n", 6, "finite number; found inf"),
    ("line", "task: binary", "task: ranking", 6,
     "'ranking' is not a task; allowed: 'binary', 'regression', 'count', 'quantile(0.9)'"),
    ("line", "task: binary", "task: multiclass", 6, "and 'multiclass(red, green, blue)' for any classes"),
    ("line", "task: binary", "task: multiclass(no, yes)", 6, "multiclass with 2 classes; 3 at least, for two the task is binary"),
    ("line", "task: binary", "task: multiclass(a, b, very late)", 6, "'very late' is no name of a class; allowed: letters, digits"),
    ("line", "task: binary", "task: multiclass(a, b, B)", 6, "b and B: a class is named once"),
    ("line", "task: binary", "task: multiclass(a, b, c)", 8,
     "returns: label.expression: 'returned' is of type BOOLEAN; allowed here: a text or a whole number"),
    ("entity_line", "task: binary", "task: multiclass(a, b, c)", 8, "says yes or no, and the task is multiclass(a, b, c)"),
    ("line", "task: binary", "task: quantile(1.5)", 6, "'quantile(1.5)' is not a task"),
    ("line", "estimator: logistic_regression", "estimator: xgboost", 15,
     "'xgboost' is not an estimator; allowed: constant, linear"),
    ("line", "task: binary", "task: quantile(.90)", 15,
     "'logistic_regression' cannot do task quantile(0.9); estimators that can: constant, additive, lightgbm"),
    ("line", "estimator: logistic_regression", "estimator: logistic_regression, early_stopping: 5", 15,
     "'logistic_regression' has no early_stopping; estimators that have it: lightgbm, hist_gradient_boosting"),
    ("line", "estimator: logistic_regression", "estimator: lightgbm, monotone: {amuont: increasing}", 15,
     "'amuont' is not a feature of"),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimator: logistic_regression}\n  gate: {metric: mae}", 16,
     "'mae' compares no models of task binary; allowed: average_precision"),
    ("line", "plain: {estimator: logistic_regression}",
     "plain: {estimator: logistic_regression}\n  gate: {certainty: 0.9, swaps: 1/year}", 16,
     "certainty 0.9 and swaps 1/year say the same thing twice: give one of them"),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimator: logistic_regression}\n  gate: {swaps: 0/year}", 16,
     "'0/year' lets nobody take over"),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimator: logistic_regression}\n  gate: {cluster: town}", 16,
     "returns: gate.cluster: 'town' is no column of the examples, which have customer, city, amount; name it in observe.carry"),
    *(
        ("line", "plain: {estimator: logistic_regression}", f"plain: {{estimator: logistic_regression}}\n  gate: {gate}", 16, told)
        for gate, told in [
            ("{slices: {big: {where: amount > 9}}}",
             "gate.slices.big: a slice needs a limit: worse, by how much it may be worse than who answers now, or floor"),
            ("{slices: {big: {where: amuont > 9, worse: 1}}}",
             "returns: gate.slices.big.where: 'amuont > 9' reads 'amuont', which is no column of the examples; they have customer, "
             "city, amount, habit.n_1d"),
            ("{slices: {big: {where: habit.n_3d > 9, worse: 1}}}", "reads 'habit.n_3d', which is no column of the examples"),
            ("{slices: {big: {where: not returned, worse: 1}}}",
             "returns: gate.slices.big.where: 'not returned' reads 'returned', which is known only after the observation"),
            ("{slices: {big: {where: label = 1, worse: 1}}}", "'label = 1' reads 'label', which is known only after the observation"),
            ("{slices: {big: {where: prediction > 0.5, worse: 1}}}", "reads 'prediction', which is known only after"),
            ("{slices: {big: {where: amount + 1, worse: 1}}}", "'amount + 1' is of type DOUBLE; allowed here: true or false"),
            ("{slices: {big: {where: getenv(city) = 'a', worse: 1}}}", "getenv"),
            ("{slices: {Big: {where: amount > 9, worse: 1}}}", "String should match pattern '^[a-z][a-z0-9_]*$'; found 'Big'"),
            ("{slices: {big: {where: amount > 9, worse: -1}}}", "greater than or equal to 0; found -1"),
            ("{groups: {town: {}}}", "returns: gate.groups.town: 'town', which is no column of the examples"),
            ("{groups: {returned: {}}}", "returns: gate.groups.returned: 'returned', which is known only after the observation"),
            ("{groups: {amount: {}}}", "'amount' is of type DOUBLE; groups have names: VARCHAR, BOOLEAN"),
            ("{groups: {city: {mae_ratio: 2}}}",
             "returns: gate.groups.city.mae_ratio: is no measure of task binary; allowed: selection, true_positive, false_positive"),
            ("{cost: {unit: EUR, false_positive: 1, false_negative: 1, true_positive: 2}}",
             "gate.cost: false_negative 1 must cost more than true_positive 2: no threshold is right otherwise"),
            ("{cost: {unit: EUR, false_positive: 1}}", "gate.cost.false_negative: 'false_negative' is required"),
            ("{threshold: 0.1, cost: {unit: EUR, false_positive: 1, false_negative: 19}}",
             "threshold 0.1 and cost, from which 0.05 follows: give one of them"),
        ]
    ),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimater: ridge}", 15,
     "unknown field 'estimater'; allowed: estimator, params"),
    ("line", "window: 28d", "window: 36h", 13, "must be one or more whole days, such as 28d; found '36h'"),
    ("line", "holdout: 7d", "holdout: 0d", 13, "attributes.train.holdout: must be one or more whole days, such as 28d; found '0d'"),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimator: logistic_regression}\n  retrain: {every: 12h}", 16,
     "attributes.retrain.every: must be one or more whole days, such as 28d; found '12h'"),
    ("line", "plain: {estimator: logistic_regression}", "plain: {estimator: logistic_regression}\n  monitor: {window: 0d}", 16,
     "attributes.monitor.window: must be one or more whole days, such as 28d; found '0d'"),
    ("entity_line", "within: 7d", "within: 0d", 8, "attributes.label.within: must be longer than 0, such as 7d; found '0d'"),
    ("entity_line", "every: 1d", "every: 1d, active: 0s", 7, "observe.active: must be longer than 0, such as 7d; found '0s'"),
    ("view", "entity: customer\n", "entity: customer\n  freshness: 59s\n", 6, "must be a minute or longer, such as 2d; found '59s'"),
    ("line", "label: {expression: returned, delay: 7d}", "label: {delay: 7d}", 8,
     "either an expression over the observed event, or an event with within"),
    ("line", "attributes:", "attribute:", 2, "unknown field 'attribute'; allowed: type, attributes"),
    ("line", "factory_assets.components.ModelLine", "factory_assets.components.ModelLime", 1,
     "allowed: factory_assets.components.EventStream, factory_assets.components.FeatureView"),
    # a name that nothing has
    ("stream", "id: order_id", "id: order", 7, "orders: id: 'order' is not a column; columns here: order_id, customer, city"),
    ("stream", "event_time: placed", "event_time: city", 8, "'city' is of type string; allowed: timestamp, date, or a derived column"),
    ("stream", "hour(placed)", "hour(placd)", 11, "orders: derive.hour: 'hour(placd)' reads placd; columns here: amount, city"),
    ("view", "stream: orders", "stream: order", 4, "habit: stream: 'order' is not a stream; streams here: orders"),
    ("view", "entity: customer", "entity: client", 5, "habit: entity: 'client' is not in orders; columns there: order_id, customer"),
    ("view", "sum(amount)", "sum(amuont)", 11, "habit: features.spent: 'amuont' reads amuont; columns here: amount, city"),
    ("view", "sum(amount)", "median(amount)", 11, "'median(amount)' is not an aggregate; allowed: count(...), sum(...)"),
    ("view", "entity: customer\n", "entity: customer\n  where: large and ok\n", 6, "'large and ok' reads ok; columns here"),
    ("line", "stream: orders", "stream: order", 7, "returns: observe.stream: 'order' is not a stream; streams here: orders"),
    ("line", "where: large", "where: huge", 7, "returns: observe.where: 'huge' reads huge; columns here"),
    ("line", "carry: [city]", "carry: [town]", 7, "returns: observe.carry: 'town' is not a column; columns here: order_id"),
    ("line", "    - amount", "    - amounts", 10, "returns: features.0: 'amounts' is not a column; columns here: order_id"),
    ("line", "    - habit.*", "    - habits.*", 11, "returns: features.1: 'habits' is not a view; views here: habit"),
    ("line", "    - habit.*", "    - habit.n_3d", 11,
     "'habit.n_3d' is not a feature; features here: habit.n_1d, habit.n_7d, habit.spent_1d, habit.spent_7d, habit.*"),
    ("line", "    - habit.*", "    - habit.n.*", 11, "'habit.n.*' is not a feature"),
    ("line", "expression: returned", "expression: return", 8, "returns: label.expression: 'return' reads return; columns here"),
    ("line", "levels: [city]", "levels: [town]", 12, "returns: segments.levels: 'town' is not a column"),
    ("line", "  train:", "  snapshot: [habits]\n  train:", 13, "returns: snapshot: 'habits' is not a view; views here: habit"),
    ("entity_line", "event: orders", "event: visits", 8, "again: label.event: 'visits' is not a stream; streams here: orders"),
    ("entity_line", "where: large", "where: huge", 8, "again: label.where: 'huge' reads huge; columns here"),
    ("entity_line", "entity: customer", "entity: client", 7, "again: observe.entity: 'client' is not a column; columns here"),
    ("entity_line", "entity: customer", "entity: city", 9,
     "habit describes 'customer', the line observes 'city'; name 'customer' in observe.carry, and its latest values find"),
    ("entity_line", "within: 7d", "same: [city], within: 7d", 8,
     "again: label.event: is asked of 'customer', which the line observes: same is for an observed event"),
    ("line", "{expression: returned, delay: 7d}", "{event: orders, within: 7d, where: returned}", 8,
     "returns: label.event: needs same, the columns in which it has the observed event's values, as in same: [customer_id]"),
    ("line", "{expression: returned, delay: 7d}", "{event: orders, same: [customer, client], within: 7d}", 8,
     "returns: label.same: 'client' is not a column; columns here: order_id, customer, city"),
    ("line", "{expression: returned, delay: 7d}", "{event: orders, same: [customer, customer], within: 7d}", 8,
     "same names a column twice: customer, customer"),
    ("line", "{expression: returned, delay: 7d}", "{expression: returned, same: [customer]}", 8, "same applies to a label by event"),
    ("entity_line", "[habit.n_7d]", "[amount]", 9, "'amount': an entity has no row of its own; use features of views"),
    ("entity_line", "{event: orders, within: 7d, where: large}", "{expression: returned}", 8,
     "an entity has no row to take it from; use event and within"),
    # a value that does not suit its place
    ("stream", "hour(placed)", "hour(amount)", 11,
     "orders: derive.hour: 'hour(amount)' cannot be computed: Binder Error: No function matches"),
    ("stream", "large: amount > 100", "large: amount - 100", 13,
     "orders: rules.large: 'amount - 100' is of type DOUBLE; allowed here: true or false"),
    ("stream", "  rules:", "  exclude: {tests: city}\n  rules:", 12,
     "orders: exclude.tests: 'city' is of type VARCHAR; allowed here: true or false"),
    ("view", "sum(amount)", "sum(city)", 11, "habit: features.spent: 'city' is of type VARCHAR; allowed here: a number"),
    ("view", "spent: sum(amount)", "spent: sum(amount) where city", 11,
     "habit: features.spent: 'city' is of type VARCHAR; allowed here: true or false"),
    ("view", "spent: sum(amount)", "spent: sum(amount)\n  derive: {share: spent_1d / amount}", 12,
     "habit: derive.share: 'spent_1d / amount' reads amount; columns here: n_1d, n_7d, spent_1d, spent_7d"),
    ("view", "spent: sum(amount)", "spent: last(city)\n  derive: {share: spent_1d || '!'}", 12,
     "allowed here: a number"),
    ("view", "spent: sum(amount)", "spent: sum(amount)\n  derive: {n_1d: spent_1d}", 12, "'n_1d' is a feature already"),
    ("view", "spent: sum(amount)", "spent: sum(amount)\n  flag: spent_7d", 12, "'spent_7d' is a feature already"),
    ("view", "entity: customer", "entity: [customer, client]", 5, "habit: entity: 'client' is not in orders; columns there"),
    ("view", "entity: customer", "entity: [customer, customer]", 5, "the columns of an entity must differ"),
    ("view", "windows: [1d, 7d]", "windows: [1d, always]", 8, "'always' is not a duration"),
    ("view", "spent: sum(amount)", "spent: last(city)\n  default: 0", 11,
     "habit: features.spent: 'city' is of type VARCHAR; allowed here: a number"),
    ("view", "entity: customer\n", "entity: customer\n  where: amount\n", 6,
     "habit: where: 'amount' is of type DOUBLE; allowed here: true or false"),
    ("line", "expression: returned", "expression: city", 8,
     "returns: label.expression: 'city' is of type VARCHAR; allowed here: 0 or 1, or true or false, as answer = 'yes' gives"),
    ("line", "where: large", "where: amount", 7, "returns: observe.where: 'amount' is of type DOUBLE; allowed here: true or false"),
    ("entity_line", "where: large", "where: amount", 8, "again: label.where: 'amount' is of type DOUBLE; allowed here: true or false"),
    ("view", "entity: customer\n", "entity: customer\n  delay: 1d\n  include_current: true\n", 7,
     "a view with a delay cannot know the current event"),
    ("stream", "start: 2024-01-01", "start: 2024-01-01\n  statistics: {by: [city, amount]}", 10,
     "orders: statistics.by.1: 'amount' is no column to divide by; columns here: customer, city, returned, hour, large"),
    ("stream", "start: 2024-01-01", "start: 2024-01-01\n  statistics: {by: [order_id]}", 10,
     "orders: statistics.by.0: 'order_id' is no column to divide by; columns here: customer, city"),
    ("stream", "start: 2024-01-01", "start: 2024-01-01\n  statistics: {by: [city, city]}", 10,
     "'city' is there 2 times; once is enough"),
    # a name that something has already, or is the factory's own
    ("stream", "    hour: hour(placed)", "    city: upper(city)", 11, "'city' exists already; columns here: order_id"),
    ("stream", "    hour: hour(placed)", "    ds: hour(placed)", 11, "'ds' is a name that the factory uses"),
    ("view", "name: habit", "name: orders", 3, "name: 'orders' is declared already, at defs.yaml:3"),
    ("stream", "    hour: hour(placed)", "    hour: hour(placed)\n    hour: day(placed)", 12,
     "'hour' stands already on line 11; keep one"),
    # a template, a file
    # where features are served
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: mysql, url: x}\n", 6,
     "'mysql' found using 'kind' does not match any of the expected tags: 'postgres', 'redis'"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: postgres, url: mysql://h/x}\n", 6,
     "attributes.serve.url: must begin with postgresql://"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: postgres, url: postgresql://h/x, table: t}\n", 6,
     "unknown field 'table'; allowed: kind, url, schema"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: postgres, url: postgresql://h/x, schema: 'a; drop'}\n", 6,
     "attributes.serve.schema: String should match pattern '^[a-z][a-z0-9_]*$'; found 'a; drop'"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: postgres, url: postgresql://h/x, schema: pg_own}\n", 6,
     "'pg_own' is PostgreSQL's own; choose another name"),
    ("view", "entity: customer\n", "entity: customer\n  serve:\n    kind: redis\n    url: redis://h/0\n    prefix: 'a:b'\n", 9,
     "attributes.serve.prefix: String should match pattern '^[a-z][a-z0-9_]*$'; found 'a:b'"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: redis, url: http://h/0}\n", 6,
     "attributes.serve.url: must begin with redis://, rediss:// or unix://"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: redis, url: redis://h/shop}\n", 6,
     "must end in the number of a database, such as redis://host:6379/0"),
    ("view", "entity: customer\n", "entity: customer\n  serve: {kind: redis, url: redis://h:port/0}\n", 6,
     "is no URL; write / : and @ of a password as %2F, %3A and %40"),
    ("view", "windows: [1d, 7d]\n  features:\n    n: count()\n    spent: sum(amount)",
     f"windows: [1d, 10d]\n  features: {{{'n' * 60}: count()}}\n  serve: {{kind: postgres, url: postgresql://h/x}}", 10,
     f"habit: serve: '{'n' * 60}_10d' has 64 characters; allowed for a column of PostgreSQL: 63"),
    ("stream", '"/data/*.parquet"', '"{{ env.FACTORY_NOT_SET }}/*.parquet"', 6,
     "attributes.source.uri: the environment variable FACTORY_NOT_SET is not set; set it, or write "
     "env('FACTORY_NOT_SET', 'a default')"),
    ("stream", '"/data/*.parquet"', '"{{ data }}"', 6,
     "'{{ data }}' cannot be filled in: 'data' is undefined; allowed: {{ env.NAME }}"),
    ("stream", '"/data/*.parquet"', '"{{ data }}/x"', 6, "'{{ data }}/x' cannot be filled in: 'data' is undefined"),
    ("stream", '"/data/*.parquet"', '"{{ env. }}"', 6, "cannot be filled in"),
    ("stream", "start: 2024-01-01", "start: 2024-01-01\n  contract: rules.yaml", 10,
     "orders: contract: 'rules.yaml' is not a file in"),
    # names that differ in case alone
    ("stream", "    hour: hour(placed)", "    Amount: hour(placed)", 11,
     "derive.Amount: 'Amount' differs from the column 'amount' in case alone; give it another name"),
    ("stream", "    hour: hour(placed)", "    hour: hour(placed)\n    Hour: hour(placed)", 12,
     "derive.Hour: 'Hour' differs from the column 'hour' in case alone; give it another name"),
    ("stream", "    large: amount > 100", "    HOUR: amount > 100", 13,
     "rules.HOUR: 'HOUR' differs from the column 'hour' in case alone; give it another name"),
    ("view", "    n: count()", "    n: count()\n    N: sum(amount)", 11, "String should match pattern '^[a-z][a-z0-9_]*$'; found 'N'"),
    ("line", "    - amount", "    - Amount", 10, "returns: features.0: 'Amount' is not a column"),
    ("line", "carry: [city]", "carry: [city, City]", 7, "returns: observe.carry: 'City' is not a column"),
    ("line", "levels: [city]", "levels: [City]", 12, "returns: segments.levels: 'City' is not a column"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("document", "right", "wrong", "line", "message"), FAULTS, ids=[f"{one[0]}: {one[2].strip()}" for one in FAULTS]
)
def test_a_fault_is_found_at_its_line_with_what_is_allowed(
    tmp_path: Path, document: str, right: str, wrong: str, line: int, message: str
) -> None:
    assert DOCUMENTS[document].count(right) == 1
    found = problems(written(tmp_path, DOCUMENTS | {document: DOCUMENTS[document].replace(right, wrong)}))
    about = [one for one in found if message in one]
    assert about, found
    assert int(about[0].partition(":")[0]) == OFFSETS[document] + line, about


def test_what_a_candidate_cannot_do_with_classes_is_found_at_its_line(tmp_path: Path) -> None:
    line = LINE.replace("task: binary", "task: multiclass(Lyon, Oslo, Rome)").replace(
        "expression: returned", "expression: city"
    )
    load(written(tmp_path, DOCUMENTS | {"line": line.replace("- amount", "- hour")}))
    line += """\
    curves: {estimator: additive}
    sure: {estimator: lightgbm, calibrate: isotonic}
    rising: {estimator: lightgbm, monotone: {amount: increasing}}
  gate: {metric: roc_auc}
"""
    start = OFFSETS["line"]
    assert problems(written(tmp_path, DOCUMENTS | {"line": line})) == [
        f"{start + 16}: returns: candidates.curves.estimator: 'additive' cannot do task multiclass(Lyon, Oslo, Rome); estimators that "
        "can: constant, linear, logistic_regression, lightgbm, hist_gradient_boosting, random_forest",
        f"{start + 17}: returns: candidates.sure.calibrate: calibrate is for a binary task; this one is multiclass(Lyon, Oslo, Rome)",
        f"{start + 18}: returns: candidates.rising.monotone: where the probability of one class never falls, those of others must: it "
        "has no direction",
        f"{start + 19}: returns: gate.metric: 'roc_auc' compares no models of task multiclass(Lyon, Oslo, Rome); allowed: log_loss, "
        "accuracy, macro_f1, balanced_accuracy",
    ]


@pytest.mark.parametrize(
    "text",
    ["case when large then 'big' else city end", "(case city when 'x' then 'Lyon' else if(large, 'big', 'Oslo') end)"],
)
def test_a_class_that_the_label_spells_out_and_the_task_does_not_have_is_found_at_its_line(
    tmp_path: Path, text: str
) -> None:
    line = LINE.replace("expression: returned", f'expression: "{text}"').replace("- amount", "- hour")
    classes = "multiclass(Lyon, Oslo, big)"
    load(written(tmp_path, DOCUMENTS | {"line": line.replace("task: binary", f"task: {classes}")}))
    small = line.replace("task: binary", "task: multiclass(Lyon, Oslo, small)")
    assert problems(written(tmp_path, DOCUMENTS | {"line": small})) == [
        f"{OFFSETS['line'] + 8}: returns: label.expression: gives 'big'; classes of the task: Lyon, Oslo, small"
    ]


@pytest.mark.parametrize("way", ["..", "absolute", "link"])
def test_a_contract_outside_of_its_declaration_s_folder_is_refused_unread(tmp_path: Path, way: str) -> None:
    folder, secret = tmp_path / "defs", tmp_path / "secret.yaml"
    folder.mkdir()
    secret.write_text("hunter2 hunter2")
    named = {"..": "../secret.yaml", "absolute": str(secret), "link": "linked.yaml"}[way]
    (folder / "linked.yaml").symlink_to(secret)
    stream = STREAM.replace("attributes:", f"attributes:\n  contract: {named}")
    (told,) = problems(written(folder, {"stream": stream}, contract=None))
    file = named.rpartition("/")[2]
    assert told == f"3: orders: contract: {file!r} lies outside of {folder}; put the file itself there"


def test_the_contract_that_is_missing_is_named_with_the_files_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(CONTRACT)
    assert problems(written(tmp_path, {"stream": STREAM}, contract=None)) == [
        f"2: orders: contract: 'contract.yaml' is not a file in {tmp_path}; files there: rules.yaml"
    ]


@pytest.mark.parametrize(
    ("right", "wrong", "line", "message"),
    [
        ("type: double", "type: float", 6,
         "columns.amount.type: Input should be 'integer', 'double', 'boolean', 'string', 'timestamp', 'date', 'integers', 'doubles' "
         "or 'strings'; found 'float'"),
        ("min: 0", "minimum: 0", 6,
         "columns.amount.minimum: unknown field 'minimum'; allowed: type, description, delivered, unit, required, nullable, min, max"),
        ("Oslo]", "NO]", 4,
         "columns.city: allowed holds False, which is no string; YAML reads NO, off and 12 as something else than text: quote them"),
        ("order_id: {type: integer}", "order_id: {type: integer, allowed: [1.5]}", 2, "allowed holds 1.5, which is no integer"),
        ("returned:", "Amount:", 1, "columns 'amount' and 'Amount' differ in case alone"),
        ("columns:", "column:", 1, "unknown field 'column'; allowed: version, columns, tolerance"),
        ("city: {", "ds: {", 2, "column 'ds' has a name that the factory uses"),
        ("city: {", "'PM2.5': {", 4, "letters, digits and _, and write `delivered: 'PM2.5'` below it"),
        ("city: {", "Fuel Price: {", 4, "'Fuel Price' is no name of a column here: give it one of"),
        ("{type: timestamp}", "{type: timestamp", 6, "YAML: expected ',' or '}'"),
        ("min: 0", "min: 3, max: 2", 6, "min 3 is larger than max 2"),
        ("columns:", "freshness: 0h\ncolumns:", 1, "freshness: must be longer than 0, such as 7d; found '0h'"),
        ("columns:", "past: 0d\ncolumns:", 1, "past: must be one or more whole days, such as 28d; found '0d'"),
    ],
)  # fmt: skip
def test_a_fault_of_the_contract_is_found_at_its_line(
    tmp_path: Path, right: str, wrong: str, line: int, message: str
) -> None:
    found = problems(written(tmp_path, {"stream": STREAM}, CONTRACT.replace(right, wrong)))
    place = "" if "'ds'" in message else "contract.yaml:"
    assert any(one.startswith(f"{place}{line}: ") and message in one for one in found), found


def test_all_problems_of_all_files_are_told_at_once_and_in_their_order(tmp_path: Path) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    written(
        tmp_path / "a", {"stream": STREAM.replace("hour(placed)", "hour(placd)").replace("owner: team:x", "owner: x")}
    )
    written(
        tmp_path / "b", {"view": VIEW.replace("7d]", "7]").replace("count()", "cuont()"), "line": LINE + "  seeds: 3\n"}
    )
    (tmp_path / "c" / "defs.yaml").write_text("type: [\n")
    found = problems(tmp_path)
    assert [one.split(": ")[0] for one in found] == [
        "a/defs.yaml:4", "b/defs.yaml:8", "b/defs.yaml:28", "c/defs.yaml:2",
    ]  # fmt: skip


def test_a_declaration_with_problems_of_its_own_is_not_reported_as_missing(tmp_path: Path) -> None:
    wrong = {
        "stream": STREAM.replace("hour(placed)", "hour(placd)"),
        "view": VIEW.replace("7d]", "7]"),
        "line": LINE.replace("levels: [city]", "levels: [town]"),
    }
    found = problems(written(tmp_path, wrong))
    assert len(found) == 2
    assert not any("is not a stream" in one or "is not a view" in one for one in found)
    # With the stream mended, the line's own fault is told beside the view's.
    found = problems(written(tmp_path, wrong | {"stream": STREAM}))
    assert [re.sub(r"^\d+: ", "", one)[:25] for one in found] == [
        "attributes.windows.1: 7 i",
        "returns: segments.levels:",
    ]


def test_a_folder_without_declarations_or_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match=r"folder: holds no defs\.yaml"):
        load(tmp_path)
    with pytest.raises(DeclarationError, match="absent:1: file: cannot be read"):
        load(tmp_path / "absent")


@pytest.mark.parametrize(
    "text", ["just a text\n", "- a\n- list\n", "42\n", "type: 3\n", "type: [a]\n", "{}\n", "attributes: {name: x}\n"]
)
def test_a_document_that_declares_nothing_is_refused_with_what_there_is_to_declare(tmp_path: Path, text: str) -> None:
    (tmp_path / "defs.yaml").write_text(text)
    (found,) = problems(tmp_path)
    assert "allowed: factory_assets.components.EventStream, " in found


@pytest.mark.parametrize("attributes", ["[a]", "text", "3", "{3: x}"])
def test_attributes_that_are_no_mapping_are_refused(tmp_path: Path, attributes: str) -> None:
    (tmp_path / "defs.yaml").write_text(f"type: factory_assets.components.EventStream\nattributes: {attributes}\n")
    assert all(one.startswith("2: ") for one in problems(tmp_path))


def test_templates_are_filled_in_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACTORY_TEST_DATA", "/elsewhere")
    monkeypatch.delenv("FACTORY_NOT_SET", raising=False)
    for template, uri in {
        "{{ env.FACTORY_TEST_DATA }}/*.parquet": "/elsewhere/*.parquet",
        "{{ env('FACTORY_TEST_DATA') }}": "/elsewhere",
        "{{ env('FACTORY_NOT_SET', '/default') }}/x": "/default/x",
        "no-{day}": "no-{day}",
    }.items():
        known = load(written(tmp_path, {"stream": STREAM.replace("/data/*.parquet", template)}), render)
        assert known.streams["orders"].stream.source.uri == uri  # type: ignore[union-attr]


def test_every_variable_that_is_not_set_is_named(tmp_path: Path) -> None:
    text = STREAM.replace("/data/*.parquet", "{{ env.FACTORY_NOT_SET }}").replace(
        "Orders.", '"{{ env.FACTORY_NOR_THIS }}"'
    )
    found = problems(written(tmp_path, {"stream": text}))
    assert [one.split(";")[0] for one in found] == [
        "5: attributes.description: the environment variable FACTORY_NOR_THIS is not set",
        "6: attributes.source.uri: the environment variable FACTORY_NOT_SET is not set",
    ]


def test_the_word_on_may_be_written_as_it_is_although_yaml_takes_it_for_true(tmp_path: Path) -> None:
    known = load(written(tmp_path, DOCUMENTS | {"line": LINE + "  retrain: {every: 14d, on: [schema]}\n"}))
    assert known.lines["returns"].retrain.on == ["schema"]
    attributes = yaml.safe_load(LINE + "  retrain: {on: [schema]}\n")["attributes"]
    assert attributes["retrain"] == {True: ["schema"]}, "or Dagster, which reads it so, would refuse it"
    model = ModelLine.get_model_cls()
    assert model is not None
    assert model.model_validate(attributes) == Line.model_validate(attributes)


def line(**more: Any) -> Line:
    return Line.model_validate(yaml.safe_load(LINE)["attributes"] | more)


@pytest.mark.parametrize("name", ["label", "Label", "leaf", "observed_at", "Example_ID"])
def test_a_column_with_a_name_of_the_lines_own_tables_is_refused_where_it_is_used(tmp_path: Path, name: str) -> None:
    contract = CONTRACT.replace("  amount: {", f"  {name}: {{type: string}}\n  amount: {{")
    view = VIEW.replace("entity: customer", f"entity: {name}")
    known = load(written(tmp_path, {"stream": STREAM, "view": view}, contract))
    for path, declared in {
        ("observe", "carry"): line(observe={"stream": "orders", "carry": [name]}, features=["amount"]),
        ("segments", "levels"): line(segments={"levels": [name]}, features=["amount"]),
        ("features",): line(features=["amount", "habit.n_1d"]),
    }.items():
        assert [(path, found) for found_path, found in known.check_line(declared) if found_path == path] == [
            (path, f"{name!r} is a name that the line's tables use; give the column another one by derive")
        ]
    assert known.check_line(line(features=["amount"], segments={})) == [], "unused, it is nobody's concern"


def test_an_entity_must_be_of_one_type_in_the_streams_that_share_it(tmp_path: Path) -> None:
    (tmp_path / "visits").mkdir()
    visits = STREAM.replace("name: orders", "name: visits").replace("rules:\n    large: amount > 100", "rules: {}")
    written(
        tmp_path / "visits",
        {"stream": visits},
        CONTRACT.replace("customer: {type: integer}", "customer: {type: string}"),
    )
    wrong = DOCUMENTS | {
        "view": VIEW.replace("stream: orders", "stream: visits"),
        "entity_line": ENTITY_LINE.replace("event: orders", "event: visits").replace(", where: large", ""),
    }
    found = problems(written(tmp_path, wrong))
    message = "'customer' is VARCHAR in visits and BIGINT in orders; they must be the same"
    assert [one.partition(": ")[2] for one in found] == [
        f"returns: features.1: {message}", f"again: label.event: {message}", f"again: features.0: {message}",
    ]  # fmt: skip


def test_a_view_with_the_current_event_needs_that_event_to_be_observed(tmp_path: Path) -> None:
    current = VIEW.replace("entity: customer\n", "entity: customer\n  include_current: true\n")
    assert load(written(tmp_path, {"stream": STREAM, "view": current, "line": LINE})).lines
    for documents in (
        {"stream": STREAM, "view": current, "line": LINE + "  snapshot: [habit]\n"},
        {"stream": STREAM, "view": current, "line": ENTITY_LINE},
    ):
        (found,) = problems(written(tmp_path, documents))
        assert "habit includes the current event, but here no event is observed together with it" in found


def test_a_finding_of_a_loaded_declaration_is_told_at_its_line(tmp_path: Path) -> None:
    written(tmp_path, DOCUMENTS)
    catalogue.require([], tmp_path, "returns")
    with pytest.raises(DeclarationError, match=rf"defs\.yaml:{OFFSETS['line'] + 11}: returns: features\.1: wrong$"):
        catalogue.require([(("features", "1"), "wrong")], tmp_path, "returns")
    with pytest.raises(DeclarationError, match=rf"{tmp_path}:1: nobody: features: wrong"):
        catalogue.require([(("features",), "wrong")], tmp_path, "nobody")


def test_nothing_declared_is_an_empty_catalogue() -> None:
    assert Catalogue().check_line(line()) == [(("observe", "stream"), "'orders' is not a stream; streams here: none")]
    assert Contract(columns={"a": {"type": "date", "allowed": ["2024-01-01"]}}).columns["a"].allowed == ["2024-01-01"]


def test_categories_have_no_order_to_be_monotone_in(tmp_path: Path) -> None:
    line = LINE.replace("- amount", "- city").replace("logistic_regression", "lightgbm, monotone: {city: increasing}")
    found = problems(written(tmp_path, DOCUMENTS | {"line": line}))
    assert found and all("candidates.plain.monotone.city: 'city' is VARCHAR" in one for one in found), found


def test_what_a_declaration_leaves_open_does_not_show_in_its_id() -> None:
    """A field that is added to the language must not change the id of a configuration that does not use it."""
    line = Line.model_validate(yaml.safe_load(LINE)["attributes"])
    fields = line.model_dump(mode="json", include={"train", "candidates"})
    assert fields == {
        "train": {"window": "28d", "holdout": "7d"},
        "candidates": {"plain": {"estimator": "logistic_regression", "params": {}}},
    }
    declared = yaml.safe_load(LINE.replace("holdout: 7d", "holdout: 7d, margin: 0.1"))["attributes"]
    assert Line.model_validate(declared).model_dump(mode="json")["train"]["margin"] == 0.1
