"""The page of several meters in a real Chromium: it lists them, opens each, and lets faults happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from running import command, start, stop

from .browser import CHROMIUM, chromium, lcd, press, until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
SITE = """
[[line]]
target = "tcp://127.0.0.1:0"
[[line.meter]]
address = 5
name = "workshop"
[[line.meter]]
address = 6
model = "E43"
"""


@pytest.mark.slow
def test_the_page_lists_the_meters_opens_each_and_lets_faults_happen(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(SITE)
    bus = start(tmp_path, verb=("bus", str(tmp_path / "site.toml")))
    try:
        with chromium() as page:
            page.goto(f"http://{bus.ready['web']}/")
            until(page, lambda: page.locator("#meters tr").count() == 2)
            assert page.locator("#meters tr").nth(1).inner_text().split("\t")[1:3] == ["meter-006", "E43"]
            page.get_by_role("link", name="6").click()
            until(page, lambda: page.locator("#about").inner_text().startswith("meter-006 · address 6"))
            press(page, "ENTER")
            until(page, lambda: lcd(page).startswith("Tar.2"))
            page.get_by_label("what goes wrong").select_option("exception")
            page.get_by_label("code").fill("4")
            page.get_by_role("button", name="Let it happen").click()
            until(page, lambda: page.locator("#fault-list").inner_text() == "exception, code 4")
            target = f"tcp://{bus.ready['tcp']}"
            assert "exception 4" in command("read", target, "6", "V").stderr
            assert command("read", target, "5", "V").returncode == 0
            page.get_by_label("code").fill("400")
            page.get_by_role("button", name="Let it happen").click()
            until(page, lambda: page.locator("#fault-error").inner_text().startswith("fault.code: 400 is not possible"))
            page.get_by_role("button", name="End all").click()
            until(page, lambda: page.locator("#fault-list li").count() == 0)
            assert command("read", target, "6", "V").returncode == 0
    finally:
        code, _, err = stop(bus)
    assert (code, err) == (0, "")
