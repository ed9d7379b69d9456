"""What the engine shows against what the model says of the same log."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

from accrue.core.record import EVENTS_PER_RECORD_MAX, decode
from accrue.process.outcome import NAMES
from accrue.testing.outcome import STYLES, Outcome, differences, outcome
from accrue.wiring import Alone
from simulate.model.calendar import kind_of
from simulate.model.community import Community

SHOWN_MAX = 20


class Models:
    """A model for each tenant, fed with the records of the log in their order."""

    def __init__(self, *, repeat_window_us: int, once_window_us: int) -> None:
        self._windows = {"repeat_window_us": repeat_window_us, "once_window_us": once_window_us}
        self.communities: dict[str, Community] = {}
        self.position = 0
        self._log_time_us = 0
        self.outcomes: dict[int, list[str]] = {}

    def feed(self, position: int, record: bytes) -> None:
        """One record of the log. Every tenant sees log time move on."""
        read = decode(record)
        assert self._log_time_us <= read.log_time_us, f"log time runs backwards at position {position}"
        self._log_time_us = read.log_time_us
        for community in self.communities.values():
            community.record(read.log_time_us)
        found: list[str] = []
        for batch in read.batches:
            if batch.tenant not in self.communities:
                self.communities[batch.tenant] = Community(**self._windows)
                self.communities[batch.tenant].record(read.log_time_us)
            community = self.communities[batch.tenant]
            for index, (line, time_us) in enumerate(zip(batch.body.split(b"\n"), batch.times_us, strict=True)):
                stamp = batch.stamps.get(index)
                stamped = {"crawler": stamp.crawler, "clamped": stamp.clamped} if stamp is not None else {}
                found.append(community.event(line, time_us, stamped, (position, len(found))))
        self.outcomes[position] = found
        self.position = position


async def compare(
    parts: Alone, models: Models, subjects: Collection[str], *, periods: Collection[str] | None = None
) -> list[str]:
    """A line for everything in which the engine, at rest, differs from the model. `periods`: only these."""
    found: list[str] = []
    for tenant, community in models.communities.items():
        if community.program is None:
            continue
        seen = await outcome(parts, tenant, subjects, periods=periods)
        lines = list(differences(_exact(seen, community), _said(community, subjects, periods)))
        counts = parts.live.status().events[tenant]
        lines += [
            f"count of {name}: {getattr(counts, name)}, expected {community.counts[name]}"
            for name in NAMES
            if getattr(counts, name) != community.counts[name]
        ]
        found += [f"{tenant}: {line}" for line in lines]
    for position, expected in models.outcomes.items():
        known = parts.worker.outcomes(position)
        if known is not None and [NAMES[code] for code in known] != expected:
            found.append(f"outcomes of record {position}: {[NAMES[code] for code in known]}, expected {expected}")
    models.outcomes.clear()
    return found[:SHOWN_MAX]


def sequence_of(place: tuple[int, int]) -> int:
    """A place as the engine's tables have it."""
    return place[0] * EVENTS_PER_RECORD_MAX + place[1]


def _said(community: Community, subjects: Collection[str], periods: Collection[str] | None) -> Outcome:
    """What the model says, in the words of `accrue.testing.outcome`."""
    program, state, said = community.program, community.state, Outcome()
    assert program is not None
    looked_at = {period for _, period, _ in state.tallies if periods is None or period in periods}
    for (metric, period, subject), (units, _) in state.tallies.items():
        kept = metric in program.metrics and kind_of(period, program.ranges) in program.metrics[metric].periods
        if period in looked_at and kept:
            said[f"tally {metric} {period} {subject}"] = Fraction(units, 10 ** program.metrics[metric].scale)
    for name, board in program.boards.items():
        for period in looked_at:
            if kind_of(period, program.ranges) in board.periods and community.board(name, period, "dense"):
                for style in STYLES:
                    said[f"board {name} {period} {style}"] = [
                        tuple(line) for line in community.board(name, period, style)
                    ]
            final = state.results.get((name, period))
            if final and kind_of(period, program.ranges) in board.periods:
                scales = [10 ** program.metrics[metric].scale for metric, _ in board.order]
                said[f"final {name} {period}"] = [
                    (line.rank, line.subject, [Fraction(*pair) for pair in zip(line.scores, scales, strict=False)])
                    for line in final
                ]
    for (badge, level, subject), award in state.awards.items():
        if not award.revoked:
            said[f"award {badge} {level} {subject}"] = (award.holder, award.time_us)
    for subject in subjects:
        streaks = {name for name, who in state.unbroken if who == subject}
        streaks |= {name for name, who, _ in state.active if who == subject}
        for name in streaks:
            said[f"streak {name} {subject}"] = community.streak(name, subject)
    for (kind, attribute, subject), value in state.attributes.items():
        said[f"attribute {kind} {attribute} {subject}"] = (isinstance(value, bool), value)
    return said


def _exact(seen: Outcome, community: Community) -> Outcome:
    """What was seen, with numbers as fractions and `true` told apart from 1."""
    exact: Outcome = {}
    for name, value in seen.items():
        if name.startswith("tally "):
            exact[name] = Fraction(str(value))
        elif name.startswith("final ") and isinstance(value, list):
            exact[name] = [(rank, subject, [Fraction(str(each)) for each in values]) for rank, subject, values in value]
        elif name.startswith("attribute "):
            exact[name] = (isinstance(value, bool), value)
        else:
            exact[name] = value
    return exact
