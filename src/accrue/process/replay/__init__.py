"""Folding the archive again: to verify a book, to rebuild it, or to see what other rules would have made of it.

    the book at one moment (Snapshot)
        | segments                                            rows of every table
        v                                                          |
    ArchivedLog --> the ordinary Worker --> a fresh book --------> compare --> Report, Effect
        ^                                                          ^
        +-- then, for a rebuild, what the log has beyond it        +-- rows of every table

Nothing here decides a number: the worker is the one that folds live traffic, fed by a log that reads the archive. So
what is compared is the book with the promise that it follows from the log, wherever settlements fell.

    archived.py   the archive as a log               history.py   the chain, and what stands in it that matters here
    refold.py     a worker that ends                  compare.py   two books, table by table
    verify.py     the report                          whatif.py    who would gain and lose what
"""
