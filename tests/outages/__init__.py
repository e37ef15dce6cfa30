"""
Outages, played through in virtual time: thousands of clients, a few providers that fail, and the real routing between.

`world` is the clock and the queue of what happens next; `providers` answer, or do not; `traffic` is the clients, and
what the engine does for them, without bytes; `figures` is what is seen from outside, and `scenarios` says which outages
there are. `python -m tests.outages` prints a table of what came of each.
"""
