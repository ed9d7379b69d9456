"""Who stands where on a board."""

from __future__ import annotations

from typing import NamedTuple


class Line(NamedTuple):
    """One line of a board. `rank` follows the style that was asked for; `scores` are in units."""

    rank: int
    subject: str
    scores: tuple[int, ...]


class Member(NamedTuple):
    """Somebody on a board, and when they last changed any of its scores: a place in the log."""

    subject: str
    scores: tuple[int, ...]
    reached: tuple[int, int]


def standings(members: list[Member], descending: list[bool], ties: str, style: str) -> list[Line]:
    """Best first. Equal scores: who reached them first (or last), then the smaller id."""

    def order(member: Member) -> object:
        scores = [-score if down else score for score, down in zip(member.scores, descending, strict=True)]
        position, index = member.reached
        when = {"first": (position, index), "last": (-position, -index), "id": (0, 0)}[ties]
        return scores, when, member.subject

    lines: list[Line] = []
    for place, member in enumerate(sorted(members, key=order), start=1):
        tied = bool(lines) and lines[-1].scores == member.scores
        rank = {
            "ordinal": place,
            "competition": lines[-1].rank if tied else place,
            "dense": lines[-1].rank + (not tied) if lines else 1,
        }[style]
        lines.append(Line(rank, member.subject, member.scores))
    return lines
