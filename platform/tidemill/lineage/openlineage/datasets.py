"""Describes what each step of a turn read and wrote, as OpenLineage data sets with version, columns, size."""

from openlineage.client import event_v2, facet_v2
from openlineage.client.facet_v2 import (
    dataset_version_dataset,
    output_statistics_output_dataset,
    schema_dataset,
)

from tidemill.lineage.sources.pipeline import Content, Stage
from tidemill.lineage.sources.turn_details import PRODUCER, TurnDetails

__all__ = ["Sets", "sets_of_stage", "sets_of_step"]

Sets = tuple[list[event_v2.InputDataset], list[event_v2.OutputDataset]]
"""The data sets that were read, and those that were written."""


def sets_of_step(facts: TurnDetails, step: str) -> Sets:
    """Return what a finished step read and wrote."""
    return _BY_STEP[step](facts)


def sets_of_stage(facts: TurnDetails, stage: Stage) -> Sets:
    """Return the data that a stage read, without its code, and what it wrote."""
    read = facts.pipeline.data_of(stage) if facts.pipeline else []
    return [_input(facts, each) for each in read], [_output(facts, each) for each in stage.writes]


def _of_data(facts: TurnDetails) -> Sets:
    """Return the data that was added to DVC by hand, and what the stages made from it."""
    if facts.pipeline is None:
        return [], []
    last = [content for stage in facts.pipeline.last_stages for content in stage.writes]
    return [_input(facts, each) for each in facts.pipeline.added], [_output(facts, each) for each in last]


def _of_training(facts: TurnDetails) -> Sets:
    digest = facts.lineage.data.get(facts.training_set) if facts.lineage else None
    read = [_input(facts, Content(facts.training_set, digest))] if digest else []
    return read, [_model_output(facts, f"models/{facts.turn.model}", facts.turn.run_id)]


def _of_registration(facts: TurnDetails) -> Sets:
    model = facts.turn.model
    read = [_model_input(facts, f"models/{model}", facts.turn.run_id)]
    return read, [_model_output(facts, f"registry/{model}", facts.turn.version)]


def _of_gate(facts: TurnDetails) -> Sets:
    return [_model_input(facts, f"registry/{facts.turn.model}", facts.turn.version)], []


def _of_promotion(facts: TurnDetails) -> Sets:
    read, _ = _of_gate(facts)
    if facts.turn.status != "promoted":  # a refused candidate changes no data set
        return read, []
    return read, [_model_output(facts, f"registry/{facts.turn.model}@champion", facts.turn.version)]


_BY_STEP = {
    "data": _of_data,
    "train": _of_training,
    "register": _of_registration,
    "gate": _of_gate,
    "promote": _of_promotion,
}


def _input(facts: TurnDetails, content: Content) -> event_v2.InputDataset:
    return event_v2.InputDataset(facts.project, content.path, facets=_facets(facts, content))


def _output(facts: TurnDetails, content: Content) -> event_v2.OutputDataset:
    statistics = output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(
        size=content.size, producer=PRODUCER
    )
    return event_v2.OutputDataset(
        facts.project,
        content.path,
        facets=_facets(facts, content),
        outputFacets={} if content.size is None else {"outputStatistics": statistics},
    )


def _facets(facts: TurnDetails, content: Content) -> dict[str, facet_v2.DatasetFacet]:
    found: dict[str, facet_v2.DatasetFacet] = _version(content.digest)
    if columns := facts.schemas.get(content.path):
        found["schema"] = schema_dataset.SchemaDatasetFacet(
            fields=[schema_dataset.SchemaDatasetFacetFields(name, kind) for name, kind in columns],
            producer=PRODUCER,
        )
    return found


def _version(version: str | None) -> dict[str, facet_v2.DatasetFacet]:
    if not version:
        return {}
    facet = dataset_version_dataset.DatasetVersionDatasetFacet(version, producer=PRODUCER)
    return {"version": facet}


def _model_input(facts: TurnDetails, name: str, version: str | None) -> event_v2.InputDataset:
    return event_v2.InputDataset(facts.project, name, facets=_version(version))


def _model_output(facts: TurnDetails, name: str, version: str | None) -> event_v2.OutputDataset:
    return event_v2.OutputDataset(facts.project, name, facets=_version(version))
