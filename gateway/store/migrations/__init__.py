"""How the database came to be what it is: one module of `versions` for every change, each naming the one before.

To change the tables: change them in `gateway.store.database`, add a module with the steps, and let `VERSION` there name
it. A test compares what the steps make with the tables. Steps only ever add, so that old and new replicas can share a
database while one version replaces the other.
"""
