"""Debian's Chromium, driven by Playwright: what a visitor sees, and all that a page must never do."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from tests.support.keys import Author
from tests.support.site import COOKIE

try:
    from axe_playwright_python.base import AXE_SCRIPT
    from playwright.sync_api import Browser, BrowserContext, Page, Route, ViewportSize, expect, sync_playwright
except ImportError as error:
    pytest.skip(str(error), allow_module_level=True)

__all__ = [
    "DESKTOP",
    "PHONE",
    "Browser",
    "Faults",
    "Page",
    "Route",
    "ViewportSize",
    "Visitors",
    "expect",
    "open_browser",
    "out_of_reach",
    "picture",
    "too_wide",
    "violations",
]

CHROMIUM: Final = shutil.which("chromium")
DESKTOP: Final[ViewportSize] = {"width": 1280, "height": 800}
PHONE: Final[ViewportSize] = {"width": 390, "height": 844}
PICTURES: Final = os.environ.get("PICTURES")
"""The folder that gets pictures for the documentation; None: nobody wants any."""

_CONTROLS: Final = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]"
_LISTEN: Final = """
document.addEventListener("securitypolicyviolation", violation =>
    toldOfViolation(`${violation.violatedDirective}: ${violation.blockedURI || violation.sourceFile}`));
"""
_NIP07: Final = """
Object.defineProperty(window, "nostr", {value: {getPublicKey: () => askedForKey(), signEvent: asked => sign(asked)}});
"""


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A headless Chromium that finds no host but this machine."""
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")  # Chromium refuses to run as root with one
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


class Faults:
    """What pages have done that none may: errors, violations of their policy, requests to anybody else.

    Args:
        origins: whom pages may ask.
    """

    def __init__(self, *origins: str) -> None:
        self.origins = set(origins)
        self.noted: list[str] = []
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        """Let pass what matches this from now on: the test brings it about."""
        self._expected.append(pattern)

    def watch(self, context: BrowserContext) -> None:
        """Note what pages of this context do."""
        context.expose_binding("toldOfViolation", lambda source, told: self._note(f"policy: {told}"))
        context.add_init_script(_LISTEN)
        context.on("console", self._judge_console)
        context.on("weberror", lambda error: self._note(f"uncaught: {error.error}"))
        context.on("request", lambda request: self._judge_request(request.url))

    def check(self) -> None:
        """Fail with all that was noted."""
        assert not self.noted, "the pages have\n" + "\n".join(self.noted)

    def _judge_console(self, message: Any) -> None:
        if message.type in ("error", "warning", "assert"):
            self._note(f"console: {message.text} ({message.location['url']}:{message.location['lineNumber']})")

    def _judge_request(self, url: str) -> None:
        if not any(url.startswith(f"{origin}/") for origin in self.origins):
            self._note(f"asked elsewhere: {url}")

    def _note(self, fault: str) -> None:
        if not any(re.search(pattern, fault) for pattern in self._expected):
            self.noted.append(fault)


class Visitors:
    """Opens pages of a relay, each visitor's in a profile of its own.

    Args:
        browser: what they look through.
        origin: where the relay is, without a slash at the end.
    """

    def __init__(self, browser: Browser, origin: str) -> None:
        self.origin = origin
        self.faults = Faults(origin)
        self._browser = browser
        self._contexts: list[BrowserContext] = []

    def open(
        self,
        path: str | None = "/",
        *,
        key: Author | None = None,
        cookie: str = "",
        scripts: bool = True,
        viewport: ViewportSize = DESKTOP,
        dark: bool = False,
    ) -> Page:
        """A page of a new visitor.

        Args:
            path: what is opened; None: nothing yet.
            key: with this key in a browser extension (NIP-07); None: without any.
            cookie: of a session at the console; empty: none.
            scripts: whether the browser runs JavaScript.
            viewport: the size of the screen.
            dark: whether the visitor likes dark pages.
        """
        context = self._browser.new_context(
            base_url=self.origin,
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            reduced_motion="reduce",
            viewport=viewport,
        )
        context.set_default_timeout(10_000)
        self._contexts.append(context)
        self.faults.watch(context)
        if key is not None:
            _lend(context, key)
        page = context.new_page()
        if cookie:
            self.give(page, cookie)
        if path is not None:
            page.goto(path)
        return page

    def give(self, page: Page, cookie: str) -> None:
        """Have a visitor's browser send this as the cookie of a session at the console."""
        page.context.add_cookies([{"name": COOKIE, "value": cookie, "url": f"{self.origin}/admin"}])

    def close(self) -> None:
        """See all visitors off, and fail if any page has done what none may."""
        for context in self._contexts:
            context.close()
        self._contexts.clear()
        self.faults.check()


def _lend(context: BrowserContext, key: Author) -> None:
    """Have `window.nostr` sign with a key, as an extension does that asks no question (NIP-07)."""

    def sign(source: object, asked: dict[str, Any]) -> Any:
        event = key.event(asked["content"], kind=asked["kind"], created_at=asked["created_at"], tags=asked["tags"])
        return msgspec.to_builtins(event)

    context.expose_binding("askedForKey", lambda source: key.pubkey)
    context.expose_binding("sign", sign)
    context.add_init_script(_NIP07)


def picture(page: Page, name: str) -> None:
    """Keep what the screen shows as a picture for the documentation, if this run is to make those."""
    if PICTURES is not None:
        page.screenshot(path=Path(PICTURES) / f"{name}.png")


def violations(page: Page, *rules: str) -> str:
    """What axe-core finds wrong with a page for people who do not see it, or use no mouse; empty: nothing.

    Args:
        page: as it is now.
        rules: the names of those that are looked at; none: all.
    """
    page.evaluate(AXE_SCRIPT)
    options = {"resultTypes": ["violations"], **({"runOnly": list(rules)} if rules else {})}
    found = page.evaluate("options => axe.run(document, options)", options)["violations"]
    return "\n".join(
        f"{one['id']} ({one['impact']}): {one['help']}\n"
        + "\n".join(f"    {node['html'][:200]}\n        {node['failureSummary']}" for node in one["nodes"][:5])
        for one in found
    )


def out_of_reach(page: Page) -> list[str]:
    """The links and controls of a page that Tab does not come to, or that do not show when it does.

    Of radio buttons with one name, Tab comes to one.
    """
    count = page.evaluate(
        """selector => {
            const groups = new Set();
            window.controls = [...document.querySelectorAll(selector)].filter(element => {
                if (element.disabled || element.tabIndex < 0 || !element.checkVisibility()) return false;
                if (element.type !== "radio") return true;
                return !groups.has(element.name) && groups.add(element.name);
            });
            document.activeElement.blur();
            return window.controls.length;
        }""",
        _CONTROLS,
    )
    page.evaluate(
        """() => {
            window.reached = new Set();
            document.addEventListener("focusin", event => {
                const style = getComputedStyle(event.target);
                if (style.outlineStyle !== "none" && style.outlineWidth !== "0px") window.reached.add(event.target);
            });
        }"""
    )
    for _ in range(count + 2):
        page.keyboard.press("Tab")
    missed: list[str] = page.evaluate(
        "window.controls.filter(one => !window.reached.has(one)).map(one => one.outerHTML.slice(0, 120))"
    )
    return missed


def too_wide(page: Page) -> list[str]:
    """What of a page sticks out of the screen to the right, if anything makes it scroll."""
    sticking: list[str] = page.evaluate(
        """() => {
            const width = document.documentElement.clientWidth;
            if (document.documentElement.scrollWidth <= width) return [];
            const scrolls = element => element !== document.body && element !== null
                && (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
            const out = [...document.body.querySelectorAll("*")].filter(
                element => element.getBoundingClientRect().right > width + 1 && !scrolls(element.parentElement));
            return ["scrolls", ...out.slice(0, 10).map(element => element.outerHTML.slice(0, 120))];
        }"""
    )
    return sticking
