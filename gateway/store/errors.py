"""What can go wrong with the database.

DatabaseAway     it cannot be reached, is locked, or fails: what was asked may succeed later
* DatabaseRefused  this program and this database do not go together: a person has to mend it
DatabaseUnfit    it is there, and will not hold these values whenever they come
"""

from __future__ import annotations


class DatabaseAway(Exception):
    """Not now."""


class DatabaseRefused(DatabaseAway):
    """Not with this version of the program."""


class DatabaseUnfit(Exception):
    """Not these values."""
