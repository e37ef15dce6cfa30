"""Held against each other: what simulated providers have served, and what the gateway has made of it.

Thousands of calls of every kind go through one gateway, well and ill. Then the ledger, the records, the metrics and
what the simulators say that they have generated must be the same, token for token. The tests play a part of it;
`python -m tests.accounting` plays ten times as many, and kills more gateways.
"""
