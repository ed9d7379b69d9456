"""What every book promises about who has which partition, and about several processes that want the same."""

import asyncio

import pytest
from msgspec.structs import replace

from accrue.book.base import Settlement, TallyRow
from accrue.book.owning import Attending, Owned
from accrue.errors import AccrueError, Corrupt, Fenced, Misconfigured
from contract.books import T, claimed, moved, settled

HERE = {"log_identity": "log-a"}


async def outcomes(*attempts):
    """What each of them came to, all begun at once: a value, or the error."""
    return await asyncio.gather(*attempts, return_exceptions=True)


# The deployment


async def test_the_first_to_found_a_deployment_decides_what_it_is(book):
    await book.found(partitions=4, log_identity="log-a", created_us=7)
    await book.found(partitions=4, log_identity="log-a", created_us=9)

    with pytest.raises(Misconfigured, match=r"of 4 partitions, which never changes; 8 are configured"):
        await book.found(partitions=8, log_identity="log-a", created_us=9)
    with pytest.raises(Misconfigured, match=r"with the log 'log-a', but the log here is 'log-b'"):
        await book.found(partitions=4, log_identity="log-b", created_us=9)

    await book.found(partitions=4, log_identity="log-a", created_us=9)


async def test_what_was_founded_stays_when_the_book_is_opened_again(books):
    book = await books.open()
    await book.found(partitions=4, log_identity="log-a", created_us=7)
    await book.close()

    with pytest.raises(Misconfigured, match="of 4 partitions"):
        await (await books.open()).found(partitions=3, log_identity="log-a", created_us=9)


async def test_a_book_from_before_there_were_deployments_takes_one_that_agrees_with_its_checkpoints(book):
    await claimed(book, 0)
    await claimed(book, 2)

    with pytest.raises(Misconfigured, match=r"partition 2, so its deployment has at least 3 partitions; 2 are"):
        await book.found(partitions=2, log_identity="log-a", created_us=7)
    with pytest.raises(Misconfigured, match=r"the log 'log-a', but the log here is 'log-b'"):
        await book.found(partitions=3, log_identity="log-b", created_us=7)

    await book.found(partitions=3, log_identity="log-a", created_us=7)
    with pytest.raises(Misconfigured, match="of 3 partitions"):
        await book.found(partitions=4, log_identity="log-a", created_us=7)


async def test_of_two_that_found_different_deployments_at_once_one_is_refused(books):
    one, two = await books.open(), await books.open()

    came = await outcomes(
        one.found(partitions=1, log_identity="log-a", created_us=7),
        two.found(partitions=2, log_identity="log-a", created_us=7),
    )

    assert sorted(type(outcome) for outcome in came if outcome) == [Misconfigured]


async def test_what_was_founded_can_be_read(book):
    assert await book.deployment() is None
    await book.found(partitions=4, log_identity="log-a", created_us=7)
    assert await book.deployment() == (4, "log-a")


# Owners


async def test_owners_are_those_who_claimed_last_with_their_addresses(book):
    assert await book.owners() == []
    await book.claim(3, owner="one", address="http://one.example:80", **HERE)
    await book.claim(0, owner="two", **HERE)
    await book.claim(0, owner="three", address="there", **HERE)

    assert await book.owners() == [Owned(0, "three", 2, 0, "there"), Owned(3, "one", 1, 0, "http://one.example:80")]


async def test_a_heartbeat_grows_only_for_the_epoch_that_has_the_partition(book):
    old = await claimed(book)
    await book.beat(0, epoch=old.epoch)
    await book.beat(0, epoch=old.epoch)
    assert await book.owners() == [Owned(0, "one", 1, 2, "")]

    new = await claimed(book, owner="two")
    for epoch in (old.epoch, new.epoch + 1):
        with pytest.raises(Fenced, match=f"no longer at epoch {epoch}"):
            await book.beat(0, epoch=epoch)
    await book.beat(0, epoch=new.epoch)

    assert await book.owners() == [Owned(0, "two", 2, 3, "")]
    with pytest.raises(Fenced):
        await book.beat(1, epoch=1)  # nobody ever claimed it


async def test_a_partition_that_was_released_has_no_owner_and_keeps_its_epoch(book):
    held = await book.claim(0, owner="one", address="here", **HERE)
    after = await settled(book, held)
    await book.release(0, epoch=1)
    await book.release(0, epoch=1)

    assert await book.owners() == [Owned(0, "", 1, 0, "")]
    assert await book.checkpoint(0) == after
    await settled(book, after)  # who gave it away and has not gone yet may still finish: nobody else has it

    await claimed(book, owner="two")
    with pytest.raises(Fenced):
        await book.release(0, epoch=1)
    assert await book.owners() == [Owned(0, "two", 2, 0, "")]


async def test_a_settlement_and_a_heartbeat_leave_each_other_alone(book):
    before = await claimed(book)
    await book.beat(0, epoch=1)
    after = await settled(book, before)
    await book.beat(0, epoch=1)

    await settled(book, after)
    assert await book.owners() == [Owned(0, "one", 1, 2, "")]


# Taking a partition that somebody else may want


async def test_a_candidate_takes_what_is_as_it_saw_it(book):
    first = await book.claim(0, owner="one", seen=(0, 0), **HERE)
    await book.beat(0, epoch=first.epoch)

    second = await book.claim(0, owner="two", seen=(1, 1), **HERE)

    assert (first.epoch, second.epoch) == (1, 2)


@pytest.mark.parametrize("seen", [(0, 0), (1, 0), (1, 2), (2, 1)])
async def test_a_candidate_that_saw_something_else_changes_nothing(book, seen):
    first = await book.claim(0, owner="one", address="here", **HERE)
    await book.beat(0, epoch=1)

    with pytest.raises(Fenced, match="is at epoch 1 and heartbeat 1"):
        await book.claim(0, owner="two", seen=seen, **HERE)

    assert await book.owners() == [Owned(0, "one", 1, 1, "here")]
    await settled(book, first)


async def test_a_candidate_for_a_partition_that_is_not_as_it_saw_it_leaves_no_trace(book):
    with pytest.raises(Fenced):
        await book.claim(0, owner="two", seen=(1, 0), **HERE)

    assert await book.owners() == []
    assert await book.checkpoint(0) is None


async def test_another_log_is_told_before_another_candidate(book):
    await claimed(book)

    with pytest.raises(Corrupt):
        await book.claim(0, owner="two", log_identity="log-b", seen=(0, 0))


@pytest.mark.parametrize("before", ["never claimed", "claimed"])
async def test_of_many_candidates_at_once_one_wins(books, before):
    seen = (0, 0)
    if before == "claimed":
        await claimed(await books.open())
        seen = (1, 0)
    candidates = [await books.open() for _ in range(4)]

    came = await outcomes(*(book.claim(0, owner=str(n), seen=seen, **HERE) for n, book in enumerate(candidates)))

    winners = [outcome for outcome in came if not isinstance(outcome, AccrueError)]
    assert [type(outcome) for outcome in came if isinstance(outcome, AccrueError)] == [Fenced] * 3
    assert [winner.epoch for winner in winners] == [seen[0] + 1]
    (owned,) = await candidates[0].owners()
    assert (owned.owner, owned.epoch) == (str(came.index(winners[0])), seen[0] + 1)


async def test_of_many_that_claim_without_looking_each_gets_an_epoch_of_its_own(books):
    candidates = [await books.open() for _ in range(4)]

    came = await outcomes(*(book.claim(0, owner="any", **HERE) for book in candidates))

    assert sorted(checkpoint.epoch for checkpoint in came) == [1, 2, 3, 4]


# Settling what somebody else may settle


def rows(value):
    return [TallyRow(T, "points", "all", f"user-{n}", value, 1) for n in range(3_000)]


async def test_of_two_that_settle_from_the_same_checkpoint_one_wins(books):
    one, two = await books.open(), await books.open()
    before = await claimed(one)
    mine, theirs = replace(moved(before), facts="1"), replace(moved(before), facts="2")

    came = await outcomes(
        one.settle(Settlement(before=before, after=mine, tallies=rows(1))),
        two.settle(Settlement(before=before, after=theirs, tallies=rows(2))),
    )

    assert sorted(isinstance(outcome, Fenced) for outcome in came) == [False, True]
    winner = 2 if isinstance(came[0], Fenced) else 1
    assert (await one.checkpoint(0)).facts == str(winner)
    cells = await two.load(T, [row.subject for row in rows(0)], ["all"])
    assert sorted(cells.tallies) == sorted(rows(winner))


async def test_a_claim_comes_before_a_settlement_or_after_it_and_never_into_it(books):
    one, two = await books.open(), await books.open()
    before = await claimed(one)
    after = moved(before)

    written, taken = await outcomes(
        one.settle(Settlement(before=before, after=after, tallies=rows(1))),
        two.claim(0, owner="two", **HERE),
    )

    settled_first = not isinstance(written, Fenced)
    assert taken == replace(after if settled_first else before, epoch=2)
    cells = await two.load(T, ["user-0"], ["all"])
    assert [row.value for row in cells.tallies] == ([1] if settled_first else [])
    with pytest.raises(Fenced):
        await one.settle(Settlement(before=after, after=moved(after)))


# Who is there


async def test_a_worker_is_on_the_list_from_the_first_time_it_attends_until_it_departs(book):
    assert await book.attending() == []
    await book.attend("two", room=4, is_wary=False)
    await book.attend("One", room=16, is_wary=True)
    await book.attend("two", room=5, is_wary=True)
    await book.attend("two", room=5, is_wary=False)

    assert await book.attending() == [Attending("One", 1, 16, True), Attending("two", 3, 5, False)]
    await book.depart("One")
    await book.depart("One")
    assert await book.attending() == [Attending("two", 3, 5, False)]


async def test_a_worker_attends_while_a_settlement_is_under_way_and_owns_nothing_by_it(book):
    before = await claimed(book)
    await book.attend("one", room=4, is_wary=False)
    await settled(book, before)
    await book.attend("one", room=4, is_wary=False)

    assert await book.attending() == [Attending("one", 2, 4, False)]
    assert await book.owners() == [Owned(0, "one", 1, 0, "")]
