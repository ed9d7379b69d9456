"""Which awards somebody got lately for something else, so that a holder's awards are found without walking all.

An award of a user stands under the user in its table. That of an object stands under the object; who holds it is only
known to the award itself, and to the book's index, which has it after the next settlement. Until then it is found here.
Whoever is found here too long does no harm: the table says what is so.
"""

from __future__ import annotations

from accrue.core.table import Award, Change, TableKey

Places = dict[tuple[TableKey, str], None]
"""Tables and the subjects in them."""


class Earned:
    """Of one tenant, since the settlement before the last one."""

    def __init__(self) -> None:
        self._lately: dict[str, Places] = {}
        self._before: dict[str, Places] = {}
        self._settlements = 0

    def note(self, key: TableKey, changes: dict[str, Change], *, settlements: int) -> None:
        """These awards of a table changed. `settlements` is how many have succeeded; it never falls.

        The next one may have begun without this change, the one after it holds it for certain, so what was noted is
        kept until there are two more.
        """
        if settlements != self._settlements:
            self._before = self._lately if settlements == self._settlements + 1 else {}
            self._lately = {}
            self._settlements = settlements
        for subject, (award, _) in changes.items():
            if award.holder != subject:
                self._lately.setdefault(award.holder, {})[key, subject] = None

    def of(self, holder: str) -> Places:
        """Where awards stand that went to this holder lately. They may have gone to another since."""
        return {**self._before.get(holder, {}), **self._lately.get(holder, {})}


def held(award: Award, holder: str) -> bool:
    """Whether an award is the holder's now."""
    return award.holder == holder and not award.revoked
