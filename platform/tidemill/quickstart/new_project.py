"""Makes the files of a project out of a table, all or none."""

import re
import shlex
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import yaml
from polars.exceptions import PolarsError

from tidemill.data.profiling.source_tables import absolute_address, open_source
from tidemill.data.profiling.table_profile import TableProfile, profile_table
from tidemill.data.profiling.text_values import conformed, infer_readings
from tidemill.data.tables.frames import table_files, unreadable
from tidemill.data.validation.inference import infer
from tidemill.errors import DataError, TidemillError, UsageError
from tidemill.quickstart.assumptions import assumptions
from tidemill.quickstart.calibration import calibrate
from tidemill.quickstart.choices import Assumption, Choices, choose
from tidemill.quickstart.init_options import Ask, InitOptions, assume, columns_said
from tidemill.quickstart.project_files import (
    CLEAN,
    RAW,
    TABLE,
    features_text,
    monitors_text,
    other_files,
    params_text,
    pipeline_text,
)
from tidemill.quickstart.target_choice import can_be_target, gaps_in_classes

__all__ = ["ProjectDraft", "draft_project", "table_exists", "write_draft"]

_USUAL_TARGET = re.compile(r"y|target|label|class|outcome|churn(ed)?", re.IGNORECASE)
Tell = Callable[[str], None]

_COLUMN = re.compile(r'\s+(?P<name>\w+|"(?:[^"\\]|\\.)*"): \{(?P<kind>type: (?:\w+|"[^"]*"))(?:, .*)?\}')
"""A line of inferred expectations that declares a column."""


@dataclass(frozen=True)
class ProjectDraft:
    """The files of a project that is not written yet."""

    files: dict[str, str]
    """Path → text."""
    choices: Choices
    assumptions: list[Assumption]


def draft_project(
    name: str, data: str, here: Path, options: InitOptions, ask: Ask = assume, tell: Tell = lambda _: None
) -> ProjectDraft:
    """Profile a table, and return the files of a project for it; nothing is written.

    Args:
        name: of the project and its model; letters lose their accents, and other characters than letters,
            digits and ``-`` become ``-``.
        data: the table, see `tidemill.data.profiling.source_tables.open_source`.
        here: relative paths in ``data`` begin here.
        options: what is said about the table.
        ask: asks about what is ambiguous.
        tell: called with each step.

    Raises:
        UsageError: a wish does not fit the table.
        DataError: the table cannot be read, or nothing can be learnt from it.
    """
    plain = unicodedata.normalize("NFKD", name.replace("ß", "ss")).encode("ascii", "ignore").decode()
    name = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-") or "model"
    source = absolute_address(data, here)
    if not table_exists(data, here):
        raise UsageError(f"--data {data}: there is no such file or folder", hint="check the path")
    with TemporaryDirectory(prefix="tidemill-init-") as folder:
        scratch = Path(folder)
        tell(f"reading {data}")
        try:
            copy = scratch / "source.parquet"  # read once: there are several passes
            open_source(source, here, scratch).sink_parquet(copy)
            tell("looking at its columns")
            choices, formats, typed = _choose(pl.scan_parquet(copy, glob=False), scratch, options, ask)
        except PolarsError as error:
            raise unreadable(Path(source), error) from error
        tell("choosing thresholds for monitors")
        classes = [choices.target.column] if choices.target.classes else []
        inferred = infer(typed, TABLE, RAW, classes=classes)
        expectations = _expectations(inferred.document, choices)
    found = calibrate(choices)
    files = {
        "params.yaml": params_text(choices, name, source, formats),
        "dvc.yaml": pipeline_text(choices, source),
        "expectations.yaml": expectations,
        "features.yaml": features_text(choices),
        "monitoring/monitors.yaml": monitors_text(choices, name, found),
        **other_files(choices, name, found.window_days),
    }
    return ProjectDraft(files, choices, assumptions(choices, data, found))


def _choose(
    raw: pl.LazyFrame, scratch: Path, options: InitOptions, ask: Ask
) -> tuple[Choices, dict[str, str], Path]:
    """Return what is made of a table, the formats of its moments, and a file of it with types."""
    readings = infer_readings(raw)
    typed, formats = scratch / "table.parquet", dict(readings.formats)
    conformed(raw, readings.types, formats).sink_parquet(typed)
    table = pl.scan_parquet(typed, glob=False)
    profile = profile_table(table)
    options = _with_target(options, profile, ask)
    if gaps := _gaps(table, profile, options.target):
        readings, typed = replace(readings, gaps=gaps), scratch / "labels.parquet"
        conformed(raw, readings.types, formats, readings.gaps).sink_parquet(typed)
        table = pl.scan_parquet(typed, glob=False)
        profile = profile_table(table)
    choices = choose(raw, table, profile, readings, options, ask)
    time = choices.time
    if time is not None and time.format and time.format != formats.get(time.column):
        formats[time.column] = time.format
        typed = scratch / "final.parquet"
        conformed(raw, readings.types, formats, readings.gaps).sink_parquet(typed)
    return choices, formats, typed


def _gaps(table: pl.LazyFrame, profile: TableProfile, target: str) -> dict[str, tuple[str, ...]]:
    """Return what means a gap in the target and in columns of few words, where there is such text."""
    asked = [
        one
        for name, one in profile.columns.items()
        if name == target or (one.values and one.personal is None)
    ]
    found = {one.name: gaps_in_classes(table, one) for one in asked}
    return {name: words for name, words in found.items() if words}


def _with_target(options: InitOptions, profile: TableProfile, ask: Ask) -> InitOptions:
    """Ask for the column to predict where none is named.

    Raises:
        UsageError: there is no terminal to ask on.
    """
    if options.target or not profile.columns:
        return options
    able = tuple(name for name, column in profile.columns.items() if can_be_target(column))
    names = able or tuple(profile.columns)
    usual = next((name for name in names if _USUAL_TARGET.fullmatch(name)), names[-1])
    if ask is assume:
        raise UsageError(
            "--target is missing: it names the column to predict",
            hint=f"perhaps --target {shlex.quote(usual)}. {columns_said(profile.columns)}",
        )
    return replace(options, target=ask("which column is to be predicted?", names, usual))


def write_draft(draft: ProjectDraft, folder: Path) -> list[Path]:
    """Write the files of a project into a folder; return their paths, relative to it.

    Raises:
        TidemillError: one cannot be written.
    """
    for path, text in draft.files.items():
        try:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
        except OSError as error:
            raise TidemillError(
                f"{folder / path} cannot be written: {error.strerror}",
                hint="check that the disk has space and can be written; nothing was kept",
            ) from error
    return sorted(Path(path) for path in draft.files)


def table_exists(data: str, here: Path) -> bool:
    """Return whether there is a file, a folder or a match of a pattern; for other addresses always."""
    if "://" in data:
        return True
    try:
        return (here / data).is_dir() or bool(table_files(here / data))
    except (DataError, OSError):  # OSError: no file can have such a name
        return False


def _expectations(document: str, choices: Choices) -> str:
    """Return inferred expectations as the stages need them.

    They name the files that the stages write, and they allow later rows: new values of a key, and any values
    of its type in a column that is left out.
    """
    used = {feature.name for feature in choices.features.chosen} | {choices.target.column}
    used |= {choices.time.column} if choices.time else set()
    lines = []
    for line in document.splitlines():
        stripped = line.strip()
        indent = line[: len(line) - len(stripped)]
        if found := _COLUMN.fullmatch(line):
            name, kind = yaml.safe_load(found["name"]), found["kind"]
            if name == choices.key and not choices.key_repeats:
                line = f"{indent}{found['name']}: {{{kind}, unique: true}}"
            elif name == choices.key or name not in used:
                line = f"{indent}{found['name']}: {{{kind}, nullable: true}}"
            else:
                line = line.replace(", unique: true", "")
        elif stripped.startswith("mode: "):
            lines += [f"{indent}accepted: {CLEAN}", f"{indent}rejected: {CLEAN.replace('clean', 'rejected')}"]
            lines += [f"{indent}coerce: true"]
        elif stripped.startswith("volume: "):
            line = f"{indent}volume: {{min: {max(1, choices.profile.rows // 2)}}}"
        elif stripped.startswith("# ") and ': tag it {"personal"' in stripped:
            line = line.partition(": tag it ")[0]
        elif stripped.startswith("# freshness: {"):
            continue
        lines.append(line)
    return "\n".join(lines) + "\n"
