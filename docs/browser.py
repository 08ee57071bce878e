"""Opens reports in Chromium, insists that nothing leaves the page, and photographs them at phone and desktop width.

Runs where Playwright is (.envs/screenshots), with a Chromium of the host's: browser.py PAGES IMAGES CHROMIUM.
"""

import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

LARGEST = 400_000  # bytes of a picture
ARGUMENTS = ["--no-sandbox", "--disable-background-networking"]
# What the policy would report, noted before the page is parsed.
LISTEN = """
window.violations = [];
document.addEventListener('securitypolicyviolation', e => violations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""
# The page forbids script to itself, so a try to leave it is made from outside, to see that the policy holds.
LEAVE = """
async () => {
  const img = new Image();
  const answer = new Promise(done => { img.onload = () => done('loaded'); img.onerror = () => done('refused'); });
  img.src = 'http://127.0.0.1:9/pixel.png';
  return await answer;
}
"""
OVERFLOW = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


class Shot(NamedTuple):
    """One picture of a page; `height` cuts it, None takes the whole page."""

    page: str
    name: str
    width: int
    height: int | None
    scheme: Literal["light", "dark"]
    scale: float = 1.0


SHOTS = (
    Shot("deployed", "report-desktop", 1100, None, "light"),
    Shot("deployed", "report-desktop-dark", 1100, 1500, "dark"),
    Shot("deployed", "report-phone", 390, None, "light"),
    Shot("deployed", "report-phone-dark", 390, 1700, "dark"),
    Shot("refused", "report-refused", 1100, 900, "light"),
    Shot("classification", "report-classification", 1100, 1900, "light"),
    Shot("classification", "report-classification-phone", 390, 2200, "light"),
)


def main(pages: Path, images: Path, chromium: str) -> None:
    """Takes every picture; exits with what a page did wrong."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for shot in SHOTS:
            take(browser, pages / f"{shot.page}.html", shot, images / f"{shot.name}.png")
        browser.close()


def take(browser: Browser, path: Path, shot: Shot, image: Path) -> None:
    """One picture, after the page was looked at."""
    size: Any = {"width": shot.width, "height": shot.height or 900}
    context = browser.new_context(viewport=size, color_scheme=shot.scheme, device_scale_factor=shot.scale)
    page = context.new_page()
    look(page, path)
    page.screenshot(path=image, full_page=shot.height is None)
    context.close()
    shrink(image)
    if image.stat().st_size > LARGEST:
        sys.exit(f"{image.name} has {image.stat().st_size:,} bytes; at most {LARGEST:,} are right for a picture")
    print(f"{image.name}: {image.stat().st_size:,} bytes, no request, no violation")


def shrink(image: Path) -> None:
    """A page has few colours: 256 of them are a third of the bytes."""
    with Image.open(image) as picture:
        picture.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            image, optimize=True
        )


def look(page: Page, path: Path) -> None:
    """The page alone is loaded, breaks no policy, fits the width, and cannot reach out when it is made to try."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.add_init_script(LISTEN)
    page.goto(path.absolute().as_uri(), wait_until="networkidle")
    if asked != [path.absolute().as_uri()]:
        sys.exit(f"{path.name} asked for {asked}")
    if complaints or page.evaluate("violations.length"):
        sys.exit(f"{path.name} broke its own policy: {complaints} {page.evaluate('violations')}")
    if page.evaluate(OVERFLOW) > 0:
        sys.exit(f"{path.name} is wider than {page.viewport_size}")
    if page.evaluate(LEAVE) != "refused" or not any("img-src" in str(item) for item in page.evaluate("violations")):
        sys.exit(f"{path.name} may load pictures from outside: its policy does not hold")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
