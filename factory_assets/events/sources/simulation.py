"""The simulated marketplace as a source: every day is made when it is asked for."""

import datetime as dt
from collections.abc import Sequence

import duckdb

from factory_assets.declarations.expressions import identifier
from factory_assets.declarations.periods import Period
from factory_assets.declarations.stream import SimulationSource
from factory_assets.events.sources.base import Delivery, Source


class Simulation(Source[SimulationSource]):
    def deliveries(self, con: duckdb.DuckDBPyConnection, days: Sequence[dt.date]) -> list[Delivery]:
        from factory_assets.events.simulation import Marketplace
        from factory_assets.events.simulation import deliveries as day_of_orders

        declared = self.declared
        world = Marketplace(seed=declared.seed, start=self.stream.start, orders_per_day=declared.orders_per_day)
        found = []
        for day in days:
            view, orders = f"simulated_{day:%Y%m%d}", day_of_orders(world, day)
            con.register(view, orders)
            columns = {row[0]: row[1] for row in con.execute(f"DESCRIBE {identifier(view)}").fetchall()}
            name = f"simulation/{day}"
            query = f"SELECT *, '{name}' AS _source, NULL::VARCHAR AS _line FROM {identifier(view)}"
            found.append(Delivery(query, columns, (name,), Period(day, day)))
        return found

    def fingerprint(self, days: Sequence[dt.date]) -> dict[dt.date, str]:
        # The script counts its days from the start: with another start, it is another world.
        return dict.fromkeys(days, f"{self.declared.model_dump_json()}|{self.stream.start}")
