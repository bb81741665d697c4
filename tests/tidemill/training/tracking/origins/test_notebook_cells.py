"""The cells of a notebook, kept with what runs from it; a kernel of its own runs in the tests of examples."""

import sys
from types import SimpleNamespace

from tidemill.training.tracking.origins.code_differences import CodeDiff
from tidemill.training.tracking.origins.notebook_cells import CELLS_LIMIT, keep_cells, read_cells, with_cells


def run_cells(monkeypatch, *cells):
    """Have IPython's history say that these were run."""
    shell = SimpleNamespace(history_manager=SimpleNamespace(input_hist_raw=["", *cells]))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))


def test_cells_are_kept_and_compared(tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    names = [keep_cells(tmp_path)]
    for cells in (["import tidemill", "C = 1"], ["import tidemill", "C = 2"], ["import tidemill", "C = 2"]):
        run_cells(monkeypatch, *cells)
        names.append(keep_cells(tmp_path))
    none, one, two, again = names
    assert none is None
    assert two == again
    assert read_cells(tmp_path, one) == "# %% 1\nimport tidemill\n\n# %% 2\nC = 1\n"
    found = with_cells(CodeDiff("", ()), tmp_path, one, two)
    assert found.files == ("notebook cells",)
    assert "-C = 1\n+C = 2\n" in found.text
    assert "-C = 1" in with_cells(CodeDiff("", ()), tmp_path, one, none).text
    assert with_cells(CodeDiff("", ()), tmp_path, two, again).files == ()
    (tmp_path / "origins" / f"{one}.cells.py").write_text("C = 3")
    assert read_cells(tmp_path, one) == read_cells(tmp_path, "0" * 64) == ""


def test_secrets_are_not_kept_and_the_first_of_many_cells_are_left_out(tmp_path, monkeypatch):
    run_cells(monkeypatch, 'PASSWORD = "correct' + '-horse"')
    assert keep_cells(tmp_path) == "not kept: they hold what looks like a secret"
    assert not list(tmp_path.iterdir())
    run_cells(monkeypatch, "FIRST = 1", "#" * (CELLS_LIMIT - 30), "LAST = 1")
    kept = read_cells(tmp_path, keep_cells(tmp_path))
    assert kept.startswith("# %% 2\n###")
    assert kept.endswith("# %% 3\nLAST = 1\n")
