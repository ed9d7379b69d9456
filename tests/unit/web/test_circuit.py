"""The circuit breaker: who is let through, and what each outcome makes of it."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, suppress

import pytest

from accrue.clock import ManualClock
from accrue.errors import AccrueError, Elsewhere, NotFound, Unavailable
from accrue.web.circuit import CircuitBreaker


class Broken(Unavailable):
    """What the other side did, to tell it from what the breaker says."""


def breaker(clock: ManualClock, *, failures_max: int = 1) -> CircuitBreaker:
    return CircuitBreaker("Redis", clock, failures_max=failures_max, retry_s=2.0)


def fail(circuit: CircuitBreaker) -> None:
    with pytest.raises(Broken), circuit.asking():
        raise Broken("No answer.")


def succeed(circuit: CircuitBreaker) -> None:
    with circuit.asking():
        pass


def refused(circuit: CircuitBreaker) -> Unavailable:
    with pytest.raises(Unavailable) as refusal, circuit.asking():
        raise AssertionError("nobody is let through")
    assert not isinstance(refusal.value, Broken)
    return refusal.value


def test_it_opens_after_so_many_failures_in_a_row_and_then_refuses_at_once(clock: ManualClock) -> None:
    circuit = breaker(clock, failures_max=2)

    fail(circuit)
    succeed(circuit)
    fail(circuit)
    assert circuit.state == "closed"
    fail(circuit)

    assert circuit.state == "open"
    assert circuit.opened == 1
    clock.advance(seconds=0.5)
    refusal = refused(circuit)
    assert "Redis" in refusal.detail
    assert refusal.retry_after_s == pytest.approx(1.5)


@pytest.mark.parametrize("answer", [NotFound("There is no such user."), Elsewhere("Another worker has it.")])
def test_an_answer_that_says_no_is_an_answer(clock: ManualClock, answer: AccrueError) -> None:
    circuit = breaker(clock)

    with pytest.raises(type(answer)), circuit.asking():
        raise answer

    assert circuit.state == "closed"


def test_a_mistake_of_ours_says_nothing_of_the_other_side(clock: ManualClock) -> None:
    circuit = breaker(clock, failures_max=2)
    fail(circuit)

    with pytest.raises(ZeroDivisionError), circuit.asking():
        raise ZeroDivisionError

    fail(circuit)
    assert circuit.state == "open"


def test_one_tries_again_later_while_the_others_are_still_refused(clock: ManualClock) -> None:
    circuit = breaker(clock)
    fail(circuit)
    clock.advance(seconds=2.0)

    with circuit.asking():
        assert circuit.state == "half-open"
        refused(circuit)

    assert circuit.state == "closed"
    with circuit.asking():
        succeed(circuit)  # anybody, beside each other


def test_when_that_one_fails_everybody_waits_again(clock: ManualClock) -> None:
    circuit = breaker(clock)
    fail(circuit)
    clock.advance(seconds=2.0)

    fail(circuit)

    clock.advance(seconds=1.9)
    refused(circuit)
    clock.advance(seconds=0.1)
    succeed(circuit)
    assert circuit.opened == 1  # it was one outage


async def test_when_that_one_is_cancelled_the_next_tries_at_once(clock: ManualClock) -> None:
    circuit = breaker(clock)
    fail(circuit)
    clock.advance(seconds=2.0)

    async def probe() -> None:
        with circuit.asking():
            await asyncio.Event().wait()

    trying = asyncio.create_task(probe())
    await asyncio.sleep(0)
    refused(circuit)
    trying.cancel()
    with suppress(asyncio.CancelledError):
        await trying

    assert circuit.state == "open"
    succeed(circuit)
    assert circuit.state == "closed"


def entered(circuit: CircuitBreaker) -> AbstractContextManager[None]:
    """Somebody who was let through and is still asking."""
    asking = circuit.asking()
    asking.__enter__()
    return asking


def test_who_asked_before_it_opened_does_not_close_it(clock: ManualClock) -> None:
    circuit = breaker(clock)
    slow, slower = entered(circuit), entered(circuit)
    fail(circuit)

    slow.__exit__(None, None, None)
    refused(circuit)

    clock.advance(seconds=2.0)
    with circuit.asking():
        slower.__exit__(None, None, None)
        assert circuit.state == "half-open"


def test_who_asked_before_it_opened_does_not_open_it_again(clock: ManualClock) -> None:
    circuit = breaker(clock)
    slow, slower = entered(circuit), entered(circuit)
    fail(circuit)
    clock.advance(seconds=2.0)

    with circuit.asking():
        slow.__exit__(Broken, Broken("No answer."), None)
    assert circuit.state == "closed"

    slower.__exit__(Broken, Broken("No answer."), None)
    assert circuit.state == "closed"
