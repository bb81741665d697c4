"""What decisions cost: a row for each true class, a column for each decision."""

from collections.abc import Sequence

from tidemill.errors import ConfigError

__all__ = ["Costs", "check_costs", "in_order"]

Costs = tuple[tuple[float, ...], ...]


def check_costs(costs: Sequence[Sequence[float]], classes: int) -> None:
    """Check that a table has a row and a column for each class.

    Raises:
        ConfigError: it has not.
    """
    if len(costs) != classes or any(len(row) != classes for row in costs):
        raise ConfigError(
            f"the metric cost needs train.costs, a row and a column for each of the {classes} classes",
            hint="a row is the true class, a column the decision: costs: [[0, 1], [5, 0]]",
        )


def in_order(costs: Costs, declared: Sequence[str], wanted: Sequence[str]) -> Costs:
    """Return a table whose rows and columns are in another order of the classes.

    One that lacks a row or a column stays as it is: only the metric ``neg_cost`` needs a whole one.

    >>> in_order(((0, 20), (1, 0)), ["ill", "well"], ["well", "ill"])
    ((0, 1), (20, 0))
    """
    if len(costs) != len(declared) or any(len(row) != len(declared) for row in costs):
        return costs
    places = [declared.index(name) for name in wanted]
    return tuple(tuple(costs[row][column] for column in places) for row in places)
