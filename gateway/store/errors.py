"""What can go wrong with the database, and with a change to what is kept in it.

DatabaseAway     it cannot be reached, is locked, or fails: what was asked may succeed later
* DatabaseRefused  this program and this database do not go together: a person has to mend it
DatabaseUnfit    it is there, and will not hold these values whenever they come
NameTaken        there is something of that name already, or was
Outdated         somebody else was quicker
"""

from __future__ import annotations


class DatabaseAway(Exception):
    """Not now."""


class DatabaseRefused(DatabaseAway):
    """Not with this version of the program."""


class DatabaseUnfit(Exception):
    """Not these values."""


class NameTaken(Exception):
    """There is one of that name, or was: the ledger knows things by name, so a name is never given twice."""


class Outdated(Exception):
    """Somebody has changed it in the meantime, or there is none of that name."""
