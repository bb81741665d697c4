"""The records' own tests run their migrations."""

from collections.abc import Iterator

import pytest

from tests.ready_tables import migrations_run


@pytest.fixture(autouse=True)
def real_migrations() -> Iterator[None]:
    with migrations_run():
        yield
