import sys
from importlib.util import cache_from_source
from pathlib import Path

from _pytest.assertion import rewrite

from tests.shared_bytecode import compile_part


def test_workers_compile_a_part_each_and_pytest_takes_what_they_made(tmp_path, pytestconfig, monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    sources = [tmp_path / "platform" / name for name in ("a.py", "b.py")]
    tests = [tmp_path / "tests" / name for name in ("test_a.py", "test_b.py", "test_wrong.py")]
    for path in (*sources, *tests):
        path.parent.mkdir(exist_ok=True)
        path.write_text("assert (" if path == tests[-1] else "assert 1 == 1\n")

    def compiled() -> list[str]:
        pytests = [rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL) for path in tests]
        pairs = zip(tests, pytests, strict=True)
        found = [path for path, made in pairs if made.exists() and rewrite._read_pyc(path, made)]
        return [path.name for path in (*sources, *found) if path in found or _made(path).exists()]

    assert compiled() == []
    compile_part(pytestconfig, tmp_path, 1, 2)
    assert compiled() == ["b.py", "test_b.py"]
    compile_part(pytestconfig, tmp_path, 0, 2)
    assert compiled() == ["a.py", "b.py", "test_a.py", "test_b.py"]


def _made(path: Path) -> Path:
    return Path(cache_from_source(str(path)))
