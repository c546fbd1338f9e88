"""What the panel shows: `draw(panel, view, now) -> LcdFrame`.

Rule: pure; the same panel, view and line time give the same frame.
"""

from __future__ import annotations

from dataclasses import replace
from math import floor
from typing import Final

from countis.meter.panel import digits
from countis.meter.panel.frame import DISPLAY_TEST, MINUS, OWN, ZONES, LcdFrame
from countis.meter.panel.machine import Panel, Setup, View, entry_of, menu_of, page_of
from countis.meter.panel.texts import CONFIRM, LEAVING, LEAVING_CODE, PORT, RESET_CODE, WRITTEN
from countis.words.clock import SECOND
from countis.words.menu import Form, Page
from countis.words.quantities import QUANTITIES
from countis.words.settings import SETTINGS, setting

REFRESH_NS: Final = SECOND  # manual §13
BLINK_NS: Final = SECOND // 2  # half a period of what flashes; assumed
_WIDTH: Final = ZONES["digits"]


def phase(now: int) -> bool:
    """Tell whether what flashes is visible now."""
    return now // BLINK_NS % 2 == 0


def draw(panel: Panel, view: View, now: int) -> LcdFrame:
    """Return the frame at `now` in ns of line time; a blank one without power."""
    if not view.powered:
        return LcdFrame()
    if panel.tests(now):
        return DISPLAY_TEST
    setup = panel.setup
    if setup is None:
        frame = _page(page_of(panel, view), view, menu_of(panel, view).name)
    elif setup.leaving is None:
        frame = _entry(setup, view)
    else:
        choice = LEAVING[setup.leaving]
        frame = LcdFrame(setup.name.value, LEAVING_CODE, choice, flashing=_all(choice))
    signs, flashing = set(frame.signs), set(frame.flashing)
    if OWN not in signs:
        signs.add(f"T{view['tariff']}")
    if view.missing:
        signs.add("!")
        flashing.add("!")
    elif view["sequence"] is not None:
        signs.add(f"{view['sequence']:.0f}")
    states = {"setup": setup is not None, "com": panel.com_until > now, "pulse": panel.pulse_until > now,
              "fault": view.malfunction}
    signs |= {name for name, lit in states.items() if lit}
    return replace(frame, signs=frozenset(signs), flashing=frozenset(flashing),
                   phase=phase(now) or not flashing, light=panel.light_until > now)


def _page(page: Page, view: View, menu: str, code: str = "") -> LcdFrame:
    """Draw a page of the menus."""
    signs, flashing = set(page.signs), {"par"} if page.partial and not view.runs(page.symbol) else set()
    if page.tariff > 0:
        signs |= {f"T{page.tariff}", OWN}
    text, units = "", ""
    places = view.model.family.entry_digits
    if page.form in (Form.ENERGY, Form.AMPERE) and view[page.symbol] is None:
        text = "-" * (_WIDTH if page.form is Form.ENERGY else places[page.symbol])
    elif page.form is Form.ENERGY:
        micro = view.exact(page.symbol)
        text, prefix = digits.energy(micro, floor(view.ratio))
        units = prefix + QUANTITIES[page.symbol].unit
        signs |= {MINUS} if micro < 0 and text.strip("0.") else set()
    elif page.form is Form.AMPERE:
        text, units = f"{view.settings[page.symbol]:0{places[page.symbol]}d}", "A"
    elif page.form in digits.LADDERS:
        value = view[page.symbol]
        assert not isinstance(value, str)
        text, units = digits.instantaneous(value, page.form)
        signs |= _direction(page, view, value)
    elif page.symbol:
        text = _item(page.symbol, view)
    return LcdFrame(menu, code or page.code, text, (units,) if units else (), frozenset(signs),
                    frozenset(flashing))


def _direction(page: Page, view: View, value: float | None) -> set[str]:
    """Return arrow and nature of a power or a power factor (decision 7)."""
    if value is None or value == 0.0:
        return set()
    if page.form is Form.FACTOR:
        one = digits.instantaneous(value, page.form)[0] == "1.000"
        return set() if one else {"ind" if value > 0 else "cap"}
    return {"→" if value > 0 else "←"} if page.form in (Form.WATT, Form.VAR) else set()


def _item(symbol: str, view: View) -> str:
    """Write an item of the firmware (manual §10.8)."""
    if symbol == "port":
        return PORT
    sums = {"CS1": view.firmware.cs1, "CS2": view.firmware.cs2}
    if symbol in sums:
        return f"{sums[symbol]:08X}".replace("B", "b").replace("D", "d")  # B and D would look like 8 and 0
    return ".".join(map(str, view.firmware.version))


def _entry(setup: Setup, view: View) -> LcdFrame:
    """Draw a page of a setup: what is being changed flashes."""
    entry = entry_of(setup, view)
    symbol = entry.symbol
    if symbol not in SETTINGS:
        page = _page(view.model.family.partial_pages[symbol], view, setup.name.value, RESET_CODE)
        if not setup.draft:
            return page
        return replace(page, digits=CONFIRM, units=(), signs=page.signs - {MINUS},
                       flashing=page.flashing | _all(CONFIRM))
    row = setting(symbol)
    text = WRITTEN.get(symbol, {}).get(setup.draft, setup.draft)
    flashing = frozenset({f"digits.{_WIDTH - len(text) + setup.digit}"}) if entry.digits > 0 else _all(text)
    return LcdFrame(setup.name.value, row.lcd, text, ("A",) if row.unit == "A" else (), flashing=flashing)


def _all(text: str) -> frozenset[str]:
    return frozenset(f"digits.{place}" for place in range(_WIDTH - len(text), _WIDTH))
