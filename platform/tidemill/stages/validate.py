"""Stage 2: sets bad rows aside with their reasons, as ``expectations.yaml`` declares it."""

from tidemill.data.validation.project_validation import write_checked
from tidemill.plurals import counted
from tidemill.project import Project
from tidemill.project.feature_columns import read_columns
from tidemill.project.moments import declared_moment
from tidemill.stages.stage_process import run_stage, say

__all__ = ["validate_table"]


def validate_table(project: Project) -> None:
    """Write the accepted and the rejected rows, and the report.

    Raises:
        DataError: the table is not what is declared of it, or too many of its rows are bad.
        ConfigError: ``expectations.yaml`` or ``features.yaml`` is wrong.
    """
    personal = [column.name for column in read_columns(project) if column.personal]
    personal += [project.config.dataset.label] if project.config.dataset.label_personal else []
    for name, report in write_checked(project, declared_moment(project), personal=personal).items():
        if report.failing:
            say(
                f"{name}: {report.failing:,} of {counted(report.rows, 'row')} set aside; "
                "data/validation.json says why"
            )


if __name__ == "__main__":
    run_stage(validate_table)
