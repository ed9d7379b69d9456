"""Has this id been seen before? The exact index behind "counted once".

For every key (128 bits made of tenant and id) the index remembers a fingerprint (32 bits of the body). The fold
asks before it counts: never seen is new, the same fingerprint is a repeat, another one is a conflict. A `once`
rule asks the same of an index of its own, with its own keys and window.

    look_up(1,000 keys)
        |
        v
      head          a dict: the newest entries, at most 4,096
        | full, or frozen, or its bucket is over
        v
      shelf         a filter in front of sorted runs; the filter says "certainly not here" or "look"
      shelf           run   20 bytes an entry, sorted, immutable; small neighbours are merged
      shelf           run
        |
        v
      freeze() -> the runs that are not in the book yet -> settle -> book -> load() at the next start

**What is forgotten.** Entries belong to *parts*: a bucket of log time, or a piece of one when it holds many. A
part is dropped whole: when its bucket ended a whole window ago, so an id is remembered at least that long; or
early, oldest first, when there are more entries than the size limit allows, and then `effective_window_us` says
what is left of the promise.

**Who decides.** The runs and the head decide, by comparing all 128 bits. A filter only saves the search, is
rebuilt from the runs by `load`, and is never stored; one that always says "look" gives the same answers.

**The invariant.** What is remembered depends only on the order of `advance` and `add`: not on when `freeze` was
called, which runs were merged, how entries came to be on shelves, nor on the hash seed. Nothing is forgotten
between two calls of `advance`, so within a record it does not matter how the fold cuts its look-ups; it calls
`advance` once for each record, before the look-ups of that record. `digest_entries` shows the invariant.

The files: `hashing` makes keys and fingerprints, `filter` is the bloom filter, `run` one sorted run and its
stored form, `shelf` a filter with the runs behind it, `index` the whole with its limits.
"""

from accrue.process.repeats.hashing import fingerprints, key, keys
from accrue.process.repeats.index import RepeatIndex

__all__ = ["RepeatIndex", "fingerprints", "key", "keys"]
