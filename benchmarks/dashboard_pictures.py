"""Takes the README's pictures of the dashboard, of a project that ``tidemill demo`` has finished.

``python -m benchmarks.dashboard_pictures workspace`` starts the dashboard on a copy of the project, opens
three pages in Chromium, and writes ``docs/images/dashboard-*.png``, each of at most 150 KB.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.children import clean_up_after
from benchmarks.dashboard_pages import served
from tidemill.project import load_project
from tidemill.state.record_reader import Records

IMAGES = Path(__file__).parent.parent / "docs" / "images"
MOST_BYTES = 150_000
WIDTH, HEIGHT = 1120, 800


def main() -> None:
    """Take the pictures, and print their sizes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard_pictures", description=main.__doc__)
    parser.add_argument("project", type=Path, help="the folder of a finished demo")
    parser.add_argument("--port", type=int, default=8925)
    parser.add_argument("--chromium", default=shutil.which("chromium"), help="the browser (default: in PATH)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dashboard-pictures-") as name:
        folder = Path(name) / "project"
        shutil.copytree(options.project, folder, symlinks=True)
        with served(folder, options.port) as url, sync_playwright() as playwright:
            addresses = _addresses(folder)
            browser = playwright.chromium.launch(
                executable_path=options.chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
            for picture, address in addresses.items():
                _take(page, url + address, IMAGES / f"dashboard-{picture}.png")
            browser.close()


def _addresses(folder: Path) -> dict[str, str]:
    """Return the pages by the names of their pictures: the alert is the last one about the drift of data."""
    project = load_project(folder)
    records = Records(project.state_url)
    of = f"/models/{project.model}"
    [alert] = records.select("alerts", "kind = 'data_drift'", order="raised_at DESC", limit=1)
    return {"model": of, "alert": f"{of}/alerts/{alert.id}", "decisions": f"{of}/decisions"}


def _take(page: Page, address: str, path: Path) -> None:
    answer = page.goto(address, wait_until="load")
    if answer is None or not answer.ok:
        sys.exit(f"{address} cannot be shown: status {answer.status if answer else 'none'}")
    page.evaluate("document.querySelector('h1').scrollIntoView()")
    page.screenshot(path=path)
    size = path.stat().st_size
    print(f"{path.name}: {size / 1000:.0f} KB")
    if size > MOST_BYTES:
        sys.exit(f"{path} is larger than {MOST_BYTES // 1000} KB: make the picture smaller")


if __name__ == "__main__":
    clean_up_after(main)
