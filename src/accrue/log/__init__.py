"""The ordered, durable record of accepted events: the truth everything else is computed from.

A log has partitions; a partition is a sequence of records; a record is what one group commit holds.
The log knows nothing of what a record says: it stores bytes and hands out positions.

    gateway --append--> [ 1 | 2 | 3 | 5 | 6 ... ] --read(after=checkpoint)--> worker
                          ^ trimmed up to the checkpoint, once the archive has it

Invariant: a position that was handed out is never handed out again, not even after a trim to empty.
"""
