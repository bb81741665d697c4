"""Says what the numbers of a card cannot show."""

from collections.abc import Iterator

from tidemill.registry.cards.model_card import ModelCard

__all__ = ["limits_of"]


def limits_of(card: ModelCard) -> tuple[str, ...]:
    """Return sentences about what the numbers do not say; each follows from what is on record."""
    return (*_of_training(card), *_of_service(card), *card.unknown)


def _of_training(card: ModelCard) -> Iterator[str]:
    if "holdout" in card.parts:
        yield f"Metrics of the hold-out speak of its rows ({card.parts['holdout']}), and of no other time."
    if card.refitted_on is not None:
        yield (
            f"The metrics are of a twin that never saw the hold-out: the version itself learnt from all "
            f"{card.refitted_on:,} rows."
        )
    if card.trials is not None and card.trials > 1:
        yield f"It is the best of {card.trials} trials on the validation rows: its metrics there flatter it."
    if card.held_out_rows:
        yield (
            f"Intervals (90 %) come from {card.held_out_rows:,} kept rows of the hold-out, drawn one by one: "
            "where rows of one day resemble each other, they are too narrow."
        )
    if card.lineage.get("uncommitted files"):
        yield "It was trained with changes that no commit holds: the commit alone does not make it again."


def _of_service(card: ModelCard) -> Iterator[str]:
    if card.gate is None:
        yield "The gate has not seen it."
    elif card.gate.low is not None and card.gate.low <= 0:
        yield "The interval of the gain over the champion reaches to nothing or below: it may be no better."
    if not card.monitor_runs:
        yield "No monitor has judged it: nothing is known of how it does in service."
    for kind, monitor in (("slice", "slice_quality"), ("fairness", "fairness")):
        if not any(one.kind == kind for one in card.groups):
            yield f"Differences between groups were not measured: no monitor of the kind {monitor} judged it."
    if not card.calibration and card.task in ("binary", "multiclass"):
        yield "Whether its probabilities are frequencies was not measured."
    if card.features:
        yield "Features are described by rows that are kept with the version, not by all that it learnt from."
