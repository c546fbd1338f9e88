"""`countis read`: a meter by symbol, real or virtual."""

from __future__ import annotations

import argparse
import csv
import json
import sys
from datetime import UTC, datetime

from countis.cli import options


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `countis read`."""
    options.add_line(parser)
    parser.add_argument("address", type=int, help="slave address")
    parser.add_argument("symbol", nargs="*",
                        help="U12 V1 P Ea+ Er-cap.L2.T3 ct_primary id.vendor …; default: the everyday ones")
    options.add_model(parser, "whose table says where everything is; default E44", "E44")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print CSV")


def call(args: argparse.Namespace) -> int:
    """Read a meter once and print what it answers."""
    from countis.models import MODELS
    from countis.site import Bus
    from countis.site.plan import plan_of
    from countis.words.notation import setting_value
    from countis.words.symbols import unit_of

    model = MODELS[args.model]
    plan = plan_of(model.family.table)
    symbols = args.symbol or plan.everyday
    plan.rows(symbols)  # an unknown symbol is an error before anything is sent
    seconds = options.timeout(args)
    setting_value("baud", str(args.baud), "--baud")
    address = options.checked_address(args.address)
    with Bus.open(args.target, baud=args.baud, comset=args.comset, timeout=seconds, model=model) as bus:
        values = bus[address].read(*symbols)
    if args.json:
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        print(json.dumps({"target": args.target, "address": address, "time": now, "values": values}))
    elif args.csv:
        rows = ((symbol, value, unit_of(symbol)) for symbol, value in values.items())
        csv.writer(sys.stdout).writerows((("symbol", "value", "unit"), *rows))
    else:
        width = max(map(len, values))
        for symbol, value in values.items():
            print(f"{symbol:{width}} {'----' if value is None else f'{value} {unit_of(symbol)}'}".rstrip())
    return 0
