"""Take the screenshots of docs/see-and-serve.md, in a folder where its commands have run.

    python scripts/screenshots.py FOLDER -o docs/figures

Requires chromium, and the packages playwright and pillow.
"""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from nmt.cli.common import SUCCESS, run
from nmt.errors import UserError

TEXT = "the 16th of october 1991"
DESKTOP, PHONE = {"width": 1100, "height": 760}, {"width": 390, "height": 800}


def main(arguments: Sequence[str] | None = None) -> int:
    """Take all screenshots and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="contains view.html, runs/dates and study")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder of the pictures")
    return run("screenshots.py", partial(_take, parser.parse_args(arguments)))


def _take(options: argparse.Namespace) -> int:
    from playwright.sync_api import sync_playwright

    if (chromium := shutil.which("chromium")) is None:
        raise UserError("chromium is not installed")
    save = partial(_save, options.output)
    with sync_playwright() as starter, _service(options.folder / "runs" / "dates") as address:
        browser = starter.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        report = _open(browser, (options.folder / "view.html").resolve().as_uri() + "#1")
        report.locator(".words.target .word").nth(6).hover()
        save(report, "see-report")
        page = _open(browser, address)
        _type(page)
        save(page, "see-translation")
        page.get_by_role("button", name="Subwords").click()
        page.locator(".word").nth(6).click()
        page.locator(".rest").nth(5).get_by_text(re.compile("..")).wait_for()
        save(page, "see-alternatives")
        page.keyboard.press("1")
        page.locator(".translation", has_text="1991-11").wait_for()
        save(page, "see-choice")
        page.keyboard.press("Control+z")
        page.locator(".translation", has_text="1991-10").wait_for()
        page.get_by_role("button", name="Subwords").click()
        _drag(page, row=10, columns=(3, 4))
        page.locator(".view h2").first.evaluate("node => node.scrollIntoView()")
        save(page, "see-attention")
        phone = _open(browser, address, size=PHONE, scheme="dark")
        _type(phone)
        save(phone, "see-phone")
        study = _open(browser, (options.folder / "study" / "report.html").resolve().as_uri())
        study.select_option("#second", label="dates_attention")
        save(study, "see-comparison")
        browser.close()
    return SUCCESS


def _open(browser: Any, address: str, size: dict[str, int] = DESKTOP, scheme: str = "light") -> Any:
    page = browser.new_page(viewport=size, color_scheme=scheme)
    page.goto(address)
    return page


def _type(page: Any) -> None:
    page.fill("#text", TEXT)
    page.locator(".word").first.wait_for()


def _drag(page: Any, row: int, columns: tuple[int, int]) -> None:
    """Drag along a row of the matrix of `TEXT`, which has 12 rows and 6 columns."""
    cells = page.locator(".matrix rect.grid").first
    cells.scroll_into_view_if_needed()
    box = cells.bounding_box()
    start, end = (box["x"] + box["width"] * (column + 0.5) / 6 for column in columns)
    height = box["y"] + box["height"] * (row + 0.5) / 12
    page.mouse.move(start, height)
    page.mouse.down()
    page.mouse.move(end, height)
    page.mouse.up()
    page.locator(".undo:enabled").first.wait_for()


def _save(folder: Path, page: Any, name: str) -> None:
    from PIL import Image

    page.wait_for_timeout(1000)  # for transitions
    image = Image.open(BytesIO(page.screenshot())).convert("RGB")
    image.quantize(64).save(folder / f"{name}.png", optimize=True)


@contextmanager
def _service(model: Path) -> Iterator[str]:
    """Yield the address of a service."""
    command = [sys.executable, "-m", "nmt.cli.serve", str(model), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        found = (re.search(r"http://\S+", line) for line in process.stderr)
        yield next(match[0] for match in found if match)
    finally:
        process.terminate()
        process.communicate()


if __name__ == "__main__":
    sys.exit(main())
