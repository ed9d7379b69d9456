"""The naive model: what Accrue means, as plainly as it can be said. Written from the docs; apart from the engine.

    calendar      the periods of a moment                  rules     the program, read from its TOML
    expressions   what a condition or an amount gives      community one event after the other, and what came of it
    standings     who stands where on a board              state     what is known after so many events

Plain dictionaries, whole numbers and fractions; nothing here is fast, nothing is cached, nothing waits.
"""
