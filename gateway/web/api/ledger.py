"""What the database has of the past: usage, calls, and who changed what."""

from __future__ import annotations

from gateway.admin import usage as questions
from gateway.admin import views
from gateway.admin.wanted import Fault, Unreadable
from gateway.config.complaints import quoted
from gateway.web.api.asked import Answer, Asked
from gateway.web.api.desk import Desk

CSV = {"content-type": "text/csv; charset=utf-8", "content-disposition": 'attachment; filename="usage.csv"'}

PAGED = ("limit", "cursor")


async def usage(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/usage`: sums by key, model, provider, outcome, day or hour."""
    said = {"by": "key", **asked.query("by", "since", "until", "key", "model", "provider", "format")}
    as_csv = _is_csv(asked, said.pop("format", None))
    by, chosen = questions.question(now=desk.now(), **said)
    found = await desk.shelves(lambda shelves: questions.usage(shelves.ledger, by, chosen))
    return Answer(views.csv_of_usage(found), headers=CSV) if as_csv else Answer(views.of_usage(found))


async def requests(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/requests`: the records of calls, newest first, by pages."""
    said = asked.query("id", "key", "model", "provider", "outcome", "status", "since", "until", *PAGED)
    limit, cursor = (said.pop(name, None) for name in PAGED)
    chosen = questions.sought(desk.now(), **said)
    found = await desk.shelves(lambda shelves: questions.page(shelves.ledger.newest, chosen, limit, cursor))
    return Answer({"requests": [views.of_record(each) for each in found.records], "cursor": found.cursor})


async def audit(desk: Desk, asked: Asked) -> Answer:
    """`GET /api/audit`: what was changed, newest first, by pages."""
    said = asked.query("who", "action", "subject", "since", "until", *PAGED)
    limit, cursor = (said.pop(name, None) for name in PAGED)
    told = questions.done(desk.now(), **said)
    found = await desk.shelves(lambda shelves: questions.page(shelves.audit.newest, told, limit, cursor))
    return Answer({"audit": [views.of_deed(each) for each in found.deeds], "cursor": found.cursor})


def _is_csv(asked: Asked, written: str | None) -> bool:
    """The URL's word counts before that of the header."""
    if written not in (None, "json", "csv"):
        raise Unreadable([Fault("format", f"{quoted(written)} must be json or csv")])
    accepted = (each.partition(";")[0].strip() for each in asked.request.headers.get("accept", "").split(","))
    return written == "csv" or (written is None and "text/csv" in accepted)
