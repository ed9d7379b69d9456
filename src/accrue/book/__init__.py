"""The book: the system of record in SQL.

A settlement writes everything that changed since the last checkpoint in ONE transaction together with the
new checkpoint. Its first statement is the fence: it must touch exactly one row of `partitions`.

Invariant: what the book holds is exactly the fold of the log up to `partitions.position`; never more, never less.
"""
