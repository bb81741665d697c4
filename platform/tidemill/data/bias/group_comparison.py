"""Compares the groups of a project's data sets, by declared columns or by given ones."""

from collections.abc import Collection, Sequence

import polars as pl

from tidemill.data.bias.group_rates import BiasReport, find_bias
from tidemill.data.expectations.declarations import declared_sets
from tidemill.data.expectations.rules import BiasConfig, DatasetRules, sql
from tidemill.data.personal.pseudonyms import pseudonymisers_for
from tidemill.data.tables.frames import open_table
from tidemill.errors import UsageError
from tidemill.project import Project

__all__ = ["compare_groups"]


def compare_groups(
    project: Project,
    only: str | None = None,
    by: Sequence[str] = (),
    label: str | None = None,
    *,
    personal: Collection[str] = (),
) -> dict[str, BiasReport]:
    """Compare the groups of the validated rows, or of the source where there are no validated rows yet.

    Args:
        project: its ``expectations.yaml`` declares groups and label.
        only: name of one data set; None: the only one, or all that declare groups.
        by: columns to group by instead of the declared ones.
        label: column or SQL expression to use instead of the declared label.
        personal: columns whose values must not be shown; groups are named by pseudonyms.

    Raises:
        UsageError: nothing is declared to compare, or ``label`` is not an SQL expression.
        DataError: a file or column is missing, or the label is neither 0/1 nor true/false.
    """
    declared = declared_sets(project, only)
    if len(declared.datasets) == 1:
        only = next(iter(declared.datasets))
    chosen = {
        name: rules
        for name, rules in declared.datasets.items()
        if name == only or (only is None and rules.bias is not None)
    }
    if not chosen:
        raise UsageError(
            "no data set declares groups to compare",
            hint="declare `bias`, or name --dataset, --by and --label",
        )
    found = {}
    for name, rules in chosen.items():
        config = _config(name, rules, by, label)
        hidden = pseudonymisers_for(project, config.named_by_value & set(personal))
        found[name] = find_bias(_rows(project, rules), config, name, hidden)
    return found


def _rows(project: Project, rules: DatasetRules) -> pl.LazyFrame:
    accepted = project.root / rules.accepted if rules.accepted else None
    if accepted and accepted.exists():
        return open_table(accepted)
    text = {name: dtype for name, dtype in rules.dtypes.items() if dtype == pl.String}
    return open_table(project.root / rules.source, text)


def _config(name: str, rules: DatasetRules, by: Sequence[str], label: str | None) -> BiasConfig:
    if label is not None:
        try:
            sql(label)
        except ValueError as error:
            raise UsageError(f"--label: {error}", hint="such as late, or arr_delay > 15") from error
    if rules.bias is None and (label is None or not by):
        raise UsageError(
            f"{name} declares no groups to compare",
            hint="declare `bias` there, or give both --by and --label",
        )
    if rules.bias is None:
        assert label is not None
        return BiasConfig(label=label, groups=tuple(by))
    changes = {**({"label": label} if label else {}), **({"groups": tuple(by)} if by else {})}
    return rules.bias.model_copy(update=changes)
