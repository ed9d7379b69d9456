"""Boards: the live read model of leaderboards. A cache: it can be lost and is published whole again.

Only absolute rows are written, so writing one twice, late, or again after a crash changes nothing.
"""
