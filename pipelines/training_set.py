"""Stage 4: the flights with a known label, with the features that were known when they are predicted."""

import polars as pl

from pipelines.flights import KEYS, flights_to_predict
from pipelines.span import NEW_YORK, read_span
from pipelines.stage import read_parquet, run_stage, write_outputs
from tidemill import DataError, Project, apply_features, service_features, training_frame

__all__ = ["write_training_set"]


def write_training_set(project: Project) -> None:
    """Apply the feature definitions and write ``data/training_set.parquet``.

    Columns: join keys, ``event_timestamp``, the features of the service in its order, ``late``,
    ``label_known_at``; sorted by ``event_timestamp``.

    Raises:
        DataError: no label is known at ``data.as_of``.
        FeatureError: Feast refused the definitions or the join.
    """
    span = read_span(project.params)
    flights = flights_to_predict(
        read_parquet(project.root / "data" / "clean" / "flights.parquet", "validate")
    )
    day = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK.key).dt.date()
    labelled = flights.filter(
        day >= span.first, pl.col("late").is_not_null(), pl.col("label_known_at") <= span.as_of
    )
    if labelled.is_empty():
        raise DataError(
            f"no label of the flights from {span.first} is known at {span.as_of.isoformat()}",
            hint="a label is known two days after the flight: choose a later data.as_of",
        )
    apply_features(project)
    features = service_features(project)
    joined = training_frame(project, labelled)
    table = joined.select(*KEYS, "event_timestamp", *features, "late", "label_known_at")
    write_outputs({project.dataset_path: table})


if __name__ == "__main__":
    run_stage(write_training_set)
