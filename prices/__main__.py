"""`python -m prices [--as-of DATE]`: writes the tables of models anew, and prints what a person should look at."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import orjson

from gateway.core.call import Json
from gateway.vendors.catalogue import Table
from prices import sources
from prices.sources import Listed
from prices.table import changes, disputed, faults, table

FOLDER = Path(__file__).parent.parent / "gateway" / "vendors" / "models"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m prices", description=__doc__)
    parser.add_argument("--as-of", type=date.fromisoformat, default=date.today(), help="the day whose prices hold")
    as_of: date = parser.parse_args().as_of
    others = sources.litellm()
    tables = {}
    for vendor, source in sources.VENDORS.items():
        listed, told = sources.genai(source.genai, as_of), sources.told(others, source.litellm)
        tables[vendor] = new = table(vendor, listed, told)
        if wrong := list(faults(new)):
            raise SystemExit(f"{vendor}: cannot be true, so nothing is written: {'; '.join(wrong)}")
        _tell(vendor, "changed", changes(_read(vendor), new))
        _tell(vendor, "announced", _announced(listed))
        _tell(vendor, "the sources differ; the first price of input was taken", disputed(new, told))
    for vendor, new in tables.items():
        _write(vendor, new, as_of)


def _tell(vendor: str, what: str, lines: Iterator[str]) -> None:
    if told := list(lines):
        print(f"{vendor}: {what}:", *told, sep="\n  ")


def _announced(listed: Sequence[Listed]) -> Iterator[str]:
    return (f"{model.id}: {prices} from {start}" for model in listed for start, prices in model.ahead)


def _read(vendor: str) -> Table:
    file = FOLDER / f"{vendor}.json"
    content: Json = orjson.loads(file.read_bytes()) if file.exists() else {"models": {}, "names": {}}
    return Table(content["models"], content["names"])


def _write(vendor: str, new: Table, as_of: date) -> None:
    """A line for each model, so that a change reads well. Nothing is written for a new date alone."""
    if _read(vendor) == new:
        return
    FOLDER.mkdir(exist_ok=True)
    head = orjson.dumps({"sources": sources.notice(), "as_of": as_of.isoformat()}).decode()
    parts = [head.removesuffix("}"), f'"models":{_lines(new.models)}', f'"names":{_lines(new.names)}}}\n']
    (FOLDER / f"{vendor}.json").write_text(",\n".join(parts))


def _lines(rows: Mapping[str, Json] | Mapping[str, str]) -> str:
    """As JSON, each item in a line of its own."""
    items = [f"{orjson.dumps(name).decode()}:{orjson.dumps(value).decode()}" for name, value in rows.items()]
    return "{\n" + ",\n".join(items) + "\n}"


if __name__ == "__main__":
    main()
