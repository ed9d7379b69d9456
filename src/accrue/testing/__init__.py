"""Testing: your own program under repeats, crashes, failing backends and settlements at any instant.

    def test_my_program(accrue_faults):
        accrue_faults.check("program.toml", events=[{"type": "comment.created", "actor": "ada"}, ...])

The fixture comes with the package; pytest itself is not needed by it otherwise. Below that stand the parts the engine's
own simulation is made of: a loop without time (`loop`), faults and backends that have them (`faults`), a deployment
that can be killed between any two steps (`deployment`), and everything that can be seen of it (`outcome`).
"""
