"""The documentation as a site: it builds without a warning, and works without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tidemill

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    return folder


def test_no_page_loads_anything_from_another_host(site: Path):
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:)?//', page.read_text())
        assert not loaded, page


def test_every_name_of_the_api_and_every_command_has_its_place(site: Path):
    api = (site / "reference" / "api.html").read_text()
    assert not [
        name for name in set(tidemill.__all__) - {"__version__"} if f'id="tidemill.{name}"' not in api
    ]
    commands = (site / "reference" / "cli.html").read_text()
    for path in (
        "tidemill-run",
        "tidemill-data-validate",
        "tidemill-features-skew",
        "tidemill-models-history",
    ):
        assert f'id="{path}"' in commands
