"""`make docs/images`: both models, light and dark, desktop and phone, as Chromium shows them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from interop.browser import chromium, press, until
from running import command, countis_run

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZES = {"desktop": {"width": 1400, "height": 1080}, "phone": {"width": 390, "height": 844}}
PRESSES = {"E44": 4, "E43": 6}  # of ENTER: to the totals, to the realtime values


def take(model: str, scheme: str, kind: str, web: str, target: str) -> None:
    """Take one picture of a meter that runs."""
    with chromium(viewport=SIZES[kind], color_scheme=scheme) as page:
        page.goto(f"http://{web}/")
        until(page, lambda: page.locator(".lcd[data-lcd]").count() and page.locator("[data-volts]").count() >= 3)
        if page.locator(".lcd").get_attribute("data-lcd", timeout=1000).startswith("Tar.1"):  # type: ignore[union-attr]
            press(page, "ENTER", PRESSES[model])
        page.evaluate("document.activeElement.blur()")
        command("read", target, "5", "U12", "P", "PF", "Ea+")
        page.wait_for_timeout(900)
        page.screenshot(path=IMAGES / f"{model}-{scheme}-{kind}.png")


def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    for model in PRESSES:
        with tempfile.TemporaryDirectory() as folder, countis_run(Path(folder), "--model", model, "--speed", "60") as meter:
            for scheme in ("light", "dark"):
                for kind in SIZES:
                    take(model, scheme, kind, meter.ready["web"], meter.target)


if __name__ == "__main__":
    main()
