"""What a saved model says that it needs."""

import pytest

from tidemill.training.fitting import packaging

pytestmark = pytest.mark.engine


def test_packages_of_the_same_modules_are_looked_for_once(monkeypatch):
    looked = []

    def look():
        looked.append("through all")
        return {"pytest": ["pytest"]}

    monkeypatch.setattr(packaging, "packages_distributions", look)
    needed = [packaging.requirements([f"pytest.{name}", "sklearn.Tree"], needed=()) for name in ("A", "B")]
    assert needed == [[f"pytest=={pytest.__version__}"]] * 2
    assert looked == ["through all"]
