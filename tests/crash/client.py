"""Clients of a server that will be killed: a process of their own, some threads, a connection each."""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from crash.life import ACKED, BEGUN, LIFE_S_MAX, SENDERS, Plan, Sender


def begin(plan: Plan, url: str, say: int, complaints: int) -> int:
    """Send to a server until it is gone. Returns the process id. Says what `life` says of a library's callers."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.dup2(complaints, 2)
        signal.alarm(round(LIFE_S_MAX))
        _send(plan, url, say)
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _send(plan: Plan, url: str, say: int) -> None:
    sender, turn, wrong = Sender(plan), threading.Lock(), []
    place = urlsplit(url)

    def send() -> None:
        connection = HTTPConnection(place.hostname or "", place.port, timeout=LIFE_S_MAX)
        while True:
            with turn:
                number, body = sender.next()
            if number is not None:
                os.write(say, b"%b%d\n" % (BEGUN, number))
            try:
                connection.request("POST", "/v1/events", body, {"Content-Type": "application/x-ndjson"})
                answer = connection.getresponse()
                said = answer.read()
            except (OSError, HTTPException):
                return
            if answer.status == 503:
                return  # it is stopping
            if answer.status != 202:
                wrong.append(f"{answer.status}: {said!r}")
                return
            if number is not None:
                os.write(say, b"%b%d\n" % (ACKED, number))
                with turn:
                    sender.answered(number)

    threads = [threading.Thread(target=send) for _ in range(SENDERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise AssertionError(wrong[0])
