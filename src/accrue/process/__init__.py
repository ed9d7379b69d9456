"""Processing: one writer folds one partition, in order, in memory, and settles what changed.

    log --read--> decode --> set aside repeats --> load what is missing --> decide --> publish (every tick)
                                                      ^                        |
                                                      |                        v
                                                     book <---- settle (with the position, in one transaction)

Who is authoritative: the log, for everything. The book holds the fold up to its checkpoint; memory holds the fold
up to now; boards hold what memory published. Start-up, recovery and hand-over are the same: begin at the
checkpoint and fold again.

Invariant: the state is a function of the log alone. Nothing here asks a clock, a random number or a hash seed about
what an event does; when to publish and when to settle may depend on time, because neither changes the state.

The files: `worker` is the loop and its numbered steps, `gather` what is folded in one go, `fold` one record or several
small ones, `state` a tenant's tables and what is loaded of them, `world` everything a partition knows, `repeats` the
index of ids, `system` the engine's own events, `failed` what rules failed on, `single` an event decided by itself,
`publish` the boards, `settle` the rows of a settlement, `close` and `closer` the end of periods.
"""
