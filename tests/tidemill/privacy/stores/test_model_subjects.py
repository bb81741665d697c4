"""Versions that went on from others have learnt what those had."""

from types import SimpleNamespace

import pytest

from tidemill.privacy.stores.model_subjects import verdicts_on

SET = "data/set.parquet"


class Contents:
    """Knows which contents hold the subject: those called old; of the others one is missing."""

    def hold(self, md5: str, path: str) -> bool | None:
        return None if md5 == "missing" else md5 == "old"


def version(number: str, content: str, parent: str | None = None):
    before = None if parent is None else {"version": parent, "run_id": "r"}
    lineage = SimpleNamespace(imported=None, data={SET: content}, parent=before)
    return SimpleNamespace(version=number, lineage=lineage)


@pytest.mark.parametrize(("first", "taught"), [("old", "yes"), ("missing", "unknown"), ("clean", "no")])
def test_what_a_version_went_on_from_taught_it(first: str, taught: str):
    chain = [
        version("10", "clean", "9"),
        version("9", "clean", "2"),
        version("2", first),
        version("3", "clean"),
    ]
    found = verdicts_on(chain, SET, Contents())
    assert found == {"2": taught, "3": "no", "9": taught, "10": taught}


def test_a_version_whose_parent_was_deleted_may_have_learnt_anything():
    assert verdicts_on([version("9", "clean", "2")], SET, Contents()) == {"9": "unknown"}
