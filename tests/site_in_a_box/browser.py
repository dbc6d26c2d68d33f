"""A real headless Chromium that looks at the page: trusts the test's server key alone, talks to nobody else.

`chromium()` says what there is; `Browser(folder, cert)` as a context manager starts it. Selenium is told where both
programs are, so that it looks for none and fetches none.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium import webdriver
from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = 20.0
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-default-apps",
    "--no-default-browser-check",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--hide-scrollbars",
)


def chromium() -> tuple[str, str] | None:
    """Browser and driver, None where one is missing."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver else None


def key_pin(certificate: Path) -> str:
    """The base64 SHA-256 of a certificate's public key, as Chromium's list of trusted keys has it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return base64.b64encode(digest).decode()


class Browser:
    """One browser with an empty profile in `folder`. RuntimeError where there is no Chromium."""

    def __init__(self, folder: Path, certificate: Path, *, size: tuple[int, int] = (1380, 950), dark: bool = False):
        found = chromium()
        if found is None:
            raise RuntimeError("no Chromium")
        os.environ |= {"SE_AVOID_STATS": "true", "SE_OFFLINE": "true"}
        options = webdriver.ChromeOptions()
        options.binary_location = found[0]
        profile = folder / f"profile-{time.monotonic_ns()}"
        pin = f"--ignore-certificate-errors-spki-list={key_pin(certificate)}"
        for argument in (*ARGUMENTS, pin, f"--user-data-dir={profile}", f"--window-size={size[0]},{size[1]}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(
            options, Service(executable_path=found[1], log_output=str(folder / "driver.log"))
        )
        self.driver.set_page_load_timeout(30)
        self.driver.set_script_timeout(30)
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.driver.quit()

    def login(self, link: str) -> None:
        """Follows a one-time link, presses its button, waits for the page."""
        self.driver.get(link)
        self.one("form button").click()
        self.until(lambda: self.text("#live") == "Live", "the page is live")

    def all(self, selector: str) -> list[WebElement]:
        """Elements by CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str) -> WebElement:
        """The first element; waits for it."""
        return self.until(lambda: next(iter(self.all(selector)), None), f"there is {selector}")

    def text(self, selector: str) -> str:
        """The text of the first element, "" when there is none."""
        try:
            found = self.all(selector)
            return found[0].text if found else ""
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    def shows(self, text: str, selector: str = "main") -> bool:
        """Whether the element's text holds this."""
        return text in self.text(selector)

    def until(self, probe: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """What `probe` answers once it is true; TimeoutError with what is shown instead."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := probe():
                    return found
            except StaleElementReferenceException:
                pass
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"not within {seconds:.0f} s: {what}; shown: {self.text('body')[:1500]!r}; "
                    f"console: {self.complaints()}"
                )
            time.sleep(0.05)

    def run(self, script: str, *arguments: Any) -> Any:
        """What a script returns."""
        return self.driver.execute_script(script, *arguments)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console since the last call, Content Security Policy's among them."""
        entries = self.driver.get_log("browser")
        return [str(entry["message"]) for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def cookies(self) -> list[dict[str, Any]]:
        """The browser's own record of cookies."""
        return list(self.driver.execute_cdp_cmd("Network.getAllCookies", {})["cookies"])

    def picture(self, file: Path, *, whole: bool = True, height: int = 6000) -> None:
        """A screenshot as PNG; `whole`: of all the page down to `height` px, not just the window."""
        file.parent.mkdir(parents=True, exist_ok=True)
        if whole:
            size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], height), "scale": 1}
            arguments = {"format": "png", "captureBeyondViewport": True, "clip": clip}
            file.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", arguments)["data"]))
        else:
            self.driver.save_screenshot(str(file))


def take_picture(link: str, certificate: Path, file: Path, folder: Path, site: str = "") -> None:
    """Logs in by a one-time link and photographs the fleet, or one site. For the demo and the documentation."""
    with Browser(folder, certificate, size=(1280, 860)) as browser:
        browser.login(link)
        if site:
            browser.run("location.hash = arguments[0]", f"#/site/{site}")
            browser.until(lambda: browser.all("article.site section"), f"{site} is shown")
        time.sleep(1)
        browser.picture(file, height=1400)
