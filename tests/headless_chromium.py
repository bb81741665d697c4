"""Chromium without what no test looks at, which would take a third of its CPU time."""

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium")
_OFF_FOR_PLAYWRIGHT = (
    "AimEnabled",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "ThirdPartyStoragePartitioning",
)
"""Playwright's own list; Chromium minds the last list only."""
_OFF = (
    "SpareRendererForSitePerProcess",  # a process for a next page that nobody opens
    "WebUIOmniboxAimPopup",  # pages of their own below the address bar, which a headless one has, too
    "WebUIOmniboxPopup",
)
LEAN = f"--disable-features={','.join((*_OFF_FOR_PLAYWRIGHT, *_OFF))}"


@contextmanager
def open_chromium() -> "Iterator[Browser]":
    """Yield a browser, which ends with the block."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", LEAN]
        )
        yield browser
        browser.close()
