"""The page in a real Chromium: the LCD read off its segments, keys held, faults seen, foreign pages refused, axe content."""

from __future__ import annotations

import http.server
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page

from running import Running, command, countis_run, start, stop

from .browser import CHROMIUM, chromium, hold, lcd, press, read_back, until

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
AXE = Path(__file__).resolve().parents[2] / ".venv/web/node_modules/axe-core/axe.min.js"
SUPPLY = """
[[load]]
current = 2.5
pf = 0.9
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "supply.toml").write_text(SUPPLY)
    with countis_run(folder, "--supply", str(folder / "supply.toml"), "--tariff-control", "com") as meter:
        yield meter


@pytest.fixture
def page(running: Running) -> Iterator[Page]:
    """The page of the running meter; at the end it has logged no error."""
    with chromium(viewport={"width": 1400, "height": 1000}) as page:
        page.goto(f"http://{running.ready['web']}/")
        until(page, lambda: page.locator(".lcd[data-lcd]").count())
        yield page
        assert page.troubles == []  # type: ignore[attr-defined]


def go(page: Page, menu: str) -> None:
    """Press ENTER until a menu is shown, on its first page."""
    press(page, "ENTER")
    for _ in range(9):
        until(page, lambda: page.locator(".lcd[data-lcd]").count())
        page.wait_for_timeout(80)
        if lcd(page).split(" | ")[0] == menu:
            return
        press(page, "ENTER")
    raise AssertionError(f"no menu {menu}")


def api(running: Running, path: str, **options: object) -> dict[str, object]:
    with urllib.request.urlopen(f"http://{running.ready['web']}/api/meters{path}", timeout=5) as answer:
        found = json.load(answer)
    assert isinstance(found, dict)
    return found


@pytest.mark.manual("4.4")
def test_the_segments_read_back_are_the_text_of_the_meter(page: Page) -> None:
    for menu in ("tot", "rt", "inFo"):
        go(page, menu)
        for _ in range(3):
            page.wait_for_timeout(90)
            read, text = read_back(page)
            assert read == text != ""
            press(page, "UP")


@pytest.mark.slow
@pytest.mark.manual("4.4")
def test_the_segments_read_back_are_the_text_of_the_meter_on_every_page(page: Page) -> None:
    seen = set()
    for _ in range(9):
        press(page, "ENTER")
        for _ in range(19):
            page.wait_for_timeout(90)
            read, text = read_back(page)
            assert read == text
            if text in seen:
                break
            seen.add(text)
            press(page, "UP")
    menus = {text.split(" | ")[0] for text in seen}
    assert menus == {"Tar.1", "Tar.2", "Tar.3", "Tar.4", "tot", "Par.b", "rt", "inFo", "SEtuP.2"}
    assert len(seen) > 80


# segment -> its place in a character: column and row of a grid of 3 x 5
PLACES = {"a": (1, 0), "f": (0, 1), "b": (2, 1), "g": (0.5, 2), "h": (1.5, 2), "e": (0, 3), "c": (2, 3), "d": (1, 4),
          "i": (0.5, 1), "j": (1, 1), "k": (1.5, 1), "l": (0.5, 3), "m": (1, 3), "n": (1.5, 3)}  # fmt: skip


@pytest.mark.parametrize("zone", ["menu.6", "code.0", "digits.7"])
def test_each_segment_stands_where_its_letter_says(page: Page, zone: str) -> None:
    script = """zone => Object.fromEntries([...document.querySelectorAll(`.lcd path[data-seg^="${zone}."]`)].map(part => {
        const box = part.getBBox(), name = part.dataset.seg.split(".")[2];
        return [name, [box.x + box.width / 2, box.y + box.height / 2]]; }))"""
    found = page.evaluate(script, zone)
    assert found.keys() == PLACES.keys()
    width, height = found["b"][0] - found["f"][0], found["d"][1] - found["a"][1]
    for letter, (column, row) in PLACES.items():
        x, y = (found[letter][0] - found["f"][0]) / width, (found[letter][1] - found["a"][1]) / height
        assert (x, y) == (pytest.approx(column / 2, abs=0.13), pytest.approx(row / 4, abs=0.06)), letter


@pytest.mark.manual("9.1.4")
@pytest.mark.slow
def test_held_keys_set_the_address_to_247_and_the_bus_answers_there(tmp_path: Path) -> None:
    with countis_run(tmp_path) as meter, chromium() as page:
        page.goto(f"http://{meter.ready['web']}/")
        until(page, lambda: page.locator(".lcd[data-lcd]").count())
        go(page, "SEtuP.2")
        hold(page, "ENTER", 3150)
        until(page, lambda: lcd(page).startswith("SEtuP.2 | Addr | 005"))
        for turns in (2, 4, 2):
            press(page, "UP", turns)
            press(page, "ENTER")
        until(page, lambda: lcd(page).startswith("SEtuP.2 | bAud | 38400"))
        hold(page, "ENTER", 3150)
        until(page, lambda: lcd(page).startswith("SEtuP.2 | EXit | Y"))
        assert "U12" in command("read", meter.target, "5", "U12").stdout
        press(page, "ENTER")
        until(page, lambda: "address 247" in page.locator("#about").inner_text())
        assert command("read", meter.target, "247", "U12").stdout.startswith("U12")
        assert command("read", meter.target, "5", "U12").returncode == 2
        until(page, lambda: page.locator("#frames tr.exception").count())


@pytest.mark.slow
def test_partials_stop_start_and_are_reset_by_keys_held_together(page: Page, running: Running) -> None:
    go(page, "Par.b")
    press(page, "UP", 4)
    until(page, lambda: lcd(page).startswith("Par.b | Σ → Ea par |"))
    press(page, "UP ENTER")
    until(page, lambda: lcd(page).startswith("Par.b | Σ → Ea par* |"))
    assert "par.Ea+" not in api(running, "/5")["running"]  # type: ignore[operator]
    before = float(lcd(page).split(" | ")[2].split()[0])
    assert before > 0
    hold(page, "UP ENTER", 3150)
    until(page, lambda: lcd(page).startswith("Par.b | Σ → Ea par* | 000000.00 kWh"))
    page.keyboard.down("u")
    page.keyboard.down("e")
    page.wait_for_timeout(60)
    page.keyboard.up("u")
    page.keyboard.up("e")
    until(page, lambda: lcd(page).startswith("Par.b | Σ → Ea par |"))
    assert "par.Ea+" in api(running, "/5")["running"]  # type: ignore[operator]


@pytest.mark.manual("11.1")
def test_a_wiring_fault_is_on_the_lcd_within_two_seconds(page: Page) -> None:
    until(page, lambda: page.locator('[data-missing="L2"]').count())
    page.wait_for_timeout(400)  # not at a stroke of the second
    page.locator('[data-missing="L2"]').check()
    took = until(page, lambda: lcd(page).split(" | ")[-1].startswith("!"))
    assert page.locator('.lcd [data-seg="sign.!"]').get_attribute("class") in ("lit", "flashed")
    page.locator('[data-missing="L2"]').uncheck()
    until(page, lambda: lcd(page).split(" | ")[-1].startswith("123"))
    assert took < 2.0
    page.locator('[data-key="swapped"]').select_option("L1-L2")
    until(page, lambda: lcd(page).split(" | ")[-1].startswith("132"))
    page.locator('[data-key="swapped"]').select_option("none")
    until(page, lambda: lcd(page).split(" | ")[-1].startswith("123"))


def test_the_form_wires_the_meter_and_says_what_cannot_be(page: Page, running: Running) -> None:
    until(page, lambda: page.locator('[data-volts="L3"]').count())
    page.locator('[data-volts="L3"]').fill("240")
    page.locator('[data-amount="0"]').fill("1.5")
    until(page, lambda: page.locator("#now td").nth(2).inner_text() == "240.0")
    page.locator('[data-key="harmonics"]').fill("5=x")
    until(page, lambda: "harmonics: 5=x is not possible" in page.locator("#supply-error").inner_text())
    page.locator('[data-key="harmonics"]').fill("5=10%@0")
    until(page, lambda: page.locator("#supply-error").inner_text() == "")
    page.locator("summary", has_text="Scenario file").click()
    page.locator("textarea").fill('[voltage]\nL2 = 231\n[[event]]\nat = 0.5\nset = { "voltage.L9" = 0 }')
    page.get_by_role("button", name="Play from now on").click()
    until(page, lambda: page.locator("#supply-error").inner_text().startswith("scenario:5: event.set"))
    page.troubles.clear()  # type: ignore[attr-defined]  # Chromium logs the 400 that was wanted
    page.locator("textarea").fill('[voltage]\nL2 = 231\n[[event]]\nat = 0.5\nset = { "voltage.L1" = 210.0 }')
    page.get_by_role("button", name="Play from now on").click()
    until(page, lambda: page.locator("#now td").nth(0).inner_text() == "210.0")
    assert api(running, "/5/supply")["name"] == "scenario"


@pytest.mark.slow
def test_the_page_finds_the_meter_again_after_the_server_was_restarted(tmp_path: Path) -> None:
    first = start(tmp_path)
    with chromium() as page:
        page.goto(f"http://{first.ready['web']}/")
        until(page, lambda: page.locator(".lcd[data-lcd]").count())
        stop(first)
        until(page, lambda: page.locator("#connection").get_attribute("data-state") == "lost")
        second = start(tmp_path, "--web", first.ready["web"])
        try:
            until(page, lambda: page.locator("#connection").get_attribute("data-state") == "live", 10)
            press(page, "ENTER")
            until(page, lambda: lcd(page).startswith("Tar.2"))
        finally:
            assert stop(second)[0] == 0


class _Foreign(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title>")

    def log_message(self, *_: object) -> None: ...


def test_a_foreign_page_is_refused(running: Running) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Foreign)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    at = running.ready["web"]
    script = f"""async () => {{
        const put = await fetch('http://{at}/api/meters/5/seal', {{method: 'PUT', body: '{{"sealed":true}}'}})
            .then(answer => answer.status, () => 'refused');
        const socket = await new Promise(done => {{ const s = new WebSocket('ws://{at}/api/meters/5/live');
            s.onopen = () => done('open'); s.onclose = () => done('refused'); }});
        return [put, socket]; }}"""
    try:
        with chromium() as page:
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            put, socket = page.evaluate(script)
    finally:
        server.shutdown()
        server.server_close()
    assert (put, socket) == ("refused", "refused")
    assert api(running, "/5")["settings"]["sealed"] == 0  # type: ignore[index]


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: make axe")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_axe_finds_no_serious_violation(running: Running, scheme: str, width: int) -> None:
    with chromium(viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True) as page:
        page.goto(f"http://{running.ready['web']}/")
        until(page, lambda: page.locator(".lcd[data-lcd]").count() and page.locator("[data-volts]").count() >= 3)
        command("read", running.target, "5", "U12")
        until(page, lambda: page.locator("#frames tr").count())
        page.locator(".help summary").click()
        page.locator("summary", has_text="Scenario file").click()
        page.add_script_tag(path=AXE)
        found = page.evaluate("axe.run()")
    grave = [v for v in found["violations"] if v["impact"] in ("serious", "critical")]
    serious = [(v["id"], [node["html"][:120] for node in v["nodes"]]) for v in grave]
    assert serious == []
    assert len(found["passes"]) > 20


@pytest.mark.slow
def test_the_led_flashes_with_the_metrology_pulses(page: Page) -> None:
    page.evaluate("""() => { window.flashes = 0;
        new MutationObserver(() => { if (document.querySelector('#led').classList.contains('on')) window.flashes += 1; })
            .observe(document.querySelector('#led'), {attributes: true}); }""")
    page.locator("button", has_text="One load a phase").click()
    until(page, lambda: page.locator('[data-amount="2"]').count())
    page.locator('[data-volts="L1"]').fill("230")
    for k in range(3):
        page.locator(f'[data-amount="{k}"]').fill("6")
    page.wait_for_timeout(1500)
    page.evaluate("window.flashes = 0")
    began = time.monotonic()
    page.wait_for_timeout(5000)
    flashes, seconds = page.evaluate("window.flashes"), time.monotonic() - began
    expected = (230 + 231 + 230) * 6 / 3.6e6 * 1000 * seconds  # 1000 for each kWh on the secondary
    assert abs(flashes - expected) <= 2
