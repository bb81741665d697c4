"""Read the keys of logged predictions as columns, with pseudonyms replaced by the original values. Pure."""

from collections.abc import Callable, Mapping

import polars as pl

from tidemill.data.tables.column_names import literal_name
from tidemill.features.skew.provenance import Provenance

__all__ = ["Resolver", "read_keys"]

_PSEUDONYM = r"^psn_[0-9a-f]{32}$"


def read_keys(keys: pl.Series, types: Mapping[str, pl.DataType]) -> pl.DataFrame:
    """Return one column of text for each name of ``types``; null where the key is null or absent.

    >>> logged = pl.Series(['{"carrier": "UA", "gate": 7}', None])
    >>> read_keys(logged, {"carrier": pl.String(), "gate": pl.Int64()})
    shape: (2, 2)
    ┌─────────┬──────┐
    │ carrier ┆ gate │
    │ ---     ┆ ---  │
    │ str     ┆ str  │
    ╞═════════╪══════╡
    │ UA      ┆ 7    │
    │ null    ┆ null │
    └─────────┴──────┘
    """
    return pl.DataFrame({"keys": keys}).select(
        pl.col("keys").str.json_path_match(_path(name)).alias(name) for name in types
    )


class Resolver:
    """Turns pseudonyms back into the values that the offline sources have under the same key column.

    Every distinct value of a column is hashed, once, when the first pseudonym of that column is met; what
    that gives stays in memory.
    """

    def __init__(self, origins: Provenance, hide: Callable[[pl.Series], pl.Series]) -> None:
        self._origins = origins
        self._hide = hide
        self._known: dict[str, pl.DataFrame] = {}

    def resolve(self, keys: pl.DataFrame) -> tuple[pl.DataFrame, pl.Series]:
        """Return the keys as the definitions declare them, and for each row the names that stay unresolved.

        Args:
            keys: text, as `read_keys` gives it.

        Returns:
            The keys in their types, null where unresolved; a list of names a row.
        """
        columns, missing = [], []
        for name, dtype in self._origins.types.items():
            text = keys[name]
            hidden = text.str.contains(_PSEUDONYM).fill_null(False)
            if hidden.any():
                text = self._look_up(name, text, hidden)
            columns.append(_typed(text, dtype))
            missing.append((hidden & text.is_null()).alias(name))
        lists = pl.DataFrame(missing, height=keys.height).select(
            pl.concat_list(
                pl.lit([], pl.List(pl.String)),
                *(
                    pl.when(literal_name(name)).then(pl.lit([name])).otherwise(pl.lit([], pl.List(pl.String)))
                    for name in keys.columns
                ),
            ).alias("unresolved")
        )
        return pl.DataFrame(columns, height=keys.height), lists["unresolved"]

    def _look_up(self, name: str, text: pl.Series, hidden: pl.Series) -> pl.Series:
        if name not in self._known:
            self._known[name] = self._hashed(name)
        joined = pl.DataFrame({"hidden": text}).join(
            self._known[name], on="hidden", how="left", maintain_order="left"
        )
        return joined.select(pl.when(pl.lit(hidden)).then("value").otherwise("hidden").alias(name))[name]

    def _hashed(self, name: str) -> pl.DataFrame:
        """Return the pseudonym of each value that any source has in the key that a request calls ``name``."""
        found = [
            source.history.values.select(pl.col(literal_name(column)).alias("value"))
            .drop_nulls()
            .unique()
            .collect()["value"]
            for source in self._origins.sources
            for column, asked in source.history.keys.items()
            if asked == name
        ]
        frames = [
            pl.DataFrame({"hidden": self._hide(values), "value": values.cast(pl.String)}) for values in found
        ]
        empty = pl.DataFrame(schema={"hidden": pl.String, "value": pl.String})
        return pl.concat([empty, *frames]).unique("hidden", keep="first")


def _path(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return f"$['{escaped}']"


def _typed(text: pl.Series, dtype: pl.DataType) -> pl.Series:
    """Return ``text`` as ``dtype``; what that cannot hold is null."""
    if dtype == pl.Boolean:
        return (text == "true").alias(text.name)
    if not isinstance(dtype, pl.Datetime):
        return text.cast(dtype, strict=False)
    aware = text.str.replace("Z$", "+00:00")
    naive = aware.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us", strict=False)
    return aware.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="us", time_zone="UTC", strict=False
    ).fill_null(naive.dt.replace_time_zone("UTC"))
