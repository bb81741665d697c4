"""Stage 2: sets bad rows aside with their reasons, and counts them, as ``expectations.yaml`` declares it.

A row is judged by all that was known of it when the stage ran: of a flight that is found out at its arrival,
the departure does not count either. That is hindsight, but only for the few flights that are set aside.
"""

from pipelines.span import read_span
from pipelines.stage import run_stage
from tidemill import Project, personal_columns, write_validated

__all__ = ["validate_tables"]


def validate_tables(project: Project) -> None:
    """Write ``data/clean``, ``data/rejected`` (with the column ``reason``) and ``data/validation.json``.

    The report shows pseudonyms where a column is personal in the feature definitions.

    Raises:
        DataError: a table is not what is declared of it, or too many of its rows are bad.
        ConfigError: ``expectations.yaml`` is wrong.
    """
    write_validated(project, read_span(project.params).as_of, personal=personal_columns(project))


if __name__ == "__main__":
    run_stage(validate_tables)
