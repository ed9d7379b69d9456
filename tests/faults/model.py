"""The naive model of every tenant, fed with the log in its order; and what it says each place has to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from accrue.core.record import EVENTS_PER_RECORD_MAX, decode
from simulate.model.calendar import kind_of, periods
from simulate.model.community import Community
from simulate.model.standings import Line

HOUR_US = 3_600_000_000
WINDOWS = {"repeat_window_us": 24 * HOUR_US, "once_window_us": 960 * HOUR_US}


class _Unforgetting(Community):
    """Nothing here lasts as long as a window."""

    def record(self, log_time_us: int) -> None:
        self._log_time_us = log_time_us


class Models:
    """A model for each tenant. `fed` is the last position of each partition."""

    def __init__(self) -> None:
        self.communities: dict[str, Community] = {}
        self.fed: Counter[int] = Counter()
        self.outcomes: dict[str, Counter[str]] = {}
        """Tenant -> what became of its events."""
        self.own: Counter[str] = Counter()
        """Of all those, what became of the ones that the engine itself made."""
        self.lines: dict[str, dict[bytes, int]] = {}
        """Tenant -> line -> where in the log it stands, as one growing number; of the lines since `forget_lately`."""
        self.lately: dict[str, set[str]] = {}
        """Tenant -> the periods of the events since `forget_lately`."""
        self._log_time_us: Counter[int] = Counter()

    def feed(self, partition: int, position: int, data: bytes) -> None:
        """One record."""
        record = decode(data)
        self._log_time_us[partition] = max(self._log_time_us[partition], record.log_time_us)
        index = 0
        for batch in record.batches:
            community = self.communities.get(batch.tenant)
            if community is None:
                community = self.communities[batch.tenant] = _Unforgetting(**WINDOWS)
                self.outcomes[batch.tenant], self.lines[batch.tenant] = Counter(), {}
            community.record(self._log_time_us[partition])
            for at, (line, time_us) in enumerate(zip(batch.body.split(b"\n"), batch.times_us, strict=True)):
                stamp = batch.stamps.get(at)
                stamped = {"crawler": stamp.crawler, "clamped": stamp.clamped} if stamp is not None else {}
                outcome = community.event(line, time_us, stamped, (position, index))
                self.outcomes[batch.tenant][outcome] += 1
                self.own[outcome] += is_own(line)
                self.lines[batch.tenant].setdefault(line, sequence((position, index)))
                index += 1
            self._note_periods(batch.tenant, community, batch.times_us)
        self.fed[partition] = position

    def forget_lately(self) -> None:
        """From here on `lately` and `lines` begin anew."""
        self.lately = {}
        self.lines = {tenant: {} for tenant in self.lines}

    def tallies(self, tenant: str) -> dict[tuple[str, str, str], tuple[int, int]]:
        """(metric, period, subject) -> value, and the sequence of the event that changed it last."""
        community = self.communities[tenant]
        program = community.program
        assert program is not None
        return {
            (metric, period, subject): (value, sequence(place))
            for (metric, period, subject), (value, place) in community.state.tallies.items()
            if kind_of(period, program.ranges) in program.metrics[metric].periods
        }

    def awards(self, tenant: str) -> dict[tuple[str, str, str], tuple[str, int, int]]:
        """(badge, level, subject) -> holder, time, sequence."""
        state = self.communities[tenant].state
        return {key: (award.holder, award.time_us, sequence(award.place)) for key, award in state.awards.items()}

    def streaks(self, tenant: str) -> dict[tuple[str, str], int]:
        """(streak, subject) -> the longest."""
        community = self.communities[tenant]
        keys = {(name, who) for name, who, _ in community.state.active}
        return {key: community.streak(*key)[1] for key in keys}

    def boards(self, tenant: str, *, lately: bool) -> Iterator[tuple[str, str, list[Line]]]:
        """Every board with somebody on it, (board, period, its lines in the style `competition`); or those lately
        changed."""
        community = self.communities[tenant]
        program = community.program
        assert program is not None
        looked_at = self.lately.get(tenant, set()) if lately else {period for _, period, _ in community.state.tallies}
        for name, board in program.boards.items():
            for period in sorted(looked_at):
                if kind_of(period, program.ranges) in board.periods and (
                    lines := community.board(name, period, "competition")
                ):
                    yield name, period, lines

    def closed(self, tenant: str) -> set[str]:
        """The periods that are closed."""
        return set(self.communities[tenant].state.closed)

    def finals(self, tenant: str) -> dict[tuple[str, str], list[Line]]:
        """(board, period) -> the final standings, where there are any."""
        return {key: lines for key, lines in self.communities[tenant].state.results.items() if lines}

    def corrections(self, tenant: str, board: str, period: str) -> dict[str, tuple[int, ...]]:
        """Subject -> what late events made of it in a closed period, where that is something else."""
        given = {line.subject: line.scores for line in self.finals(tenant).get((board, period), [])}
        now = self.communities[tenant].board(board, period, "competition")
        return {line.subject: line.scores for line in now if given.get(line.subject) != line.scores}

    def _note_periods(self, tenant: str, community: Community, times_us: list[int]) -> None:
        if community.program is not None:
            known = self.lately.setdefault(tenant, {"all"})
            for time_us in set(times_us):
                known.update(periods(time_us, community.program.timezone, community.program.ranges).values())


def is_own(line: bytes) -> bool:
    """Whether a line of the log is the engine's own, and no client's."""
    return b'"type":"accrue.program"' in line or b'"type":"accrue.close"' in line


def sequence(place: tuple[int, int]) -> int:
    """A place in the log as the engine's tables have it."""
    return place[0] * EVENTS_PER_RECORD_MAX + place[1]
