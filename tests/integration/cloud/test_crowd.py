"""A burst of one function's invocations takes turns, and never stands still."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from local.cloud.repairs.crowd import Crowd

PATIENCE = 0.2


def test_a_long_queue_takes_turns_however_long_it_lasts() -> None:
    crowd, inside, most = Crowd(at_once=2, patience=PATIENCE), threading.Semaphore(2), []

    def visit(_: int) -> None:
        with crowd.place("validate-data"):
            most.append(inside.acquire(blocking=False))
            time.sleep(PATIENCE / 4)
            inside.release()

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(visit, range(40)))  # the last waits five times as long as nobody need wait in vain
    assert most == [True] * 40


def test_who_waits_for_one_that_waits_is_not_waited_for_for_ever() -> None:
    crowd = Crowd(at_once=1, patience=PATIENCE)
    with ThreadPoolExecutor(1) as pool, crowd.place("asks-itself"):
        assert pool.submit(_visit, crowd).result(timeout=50 * PATIENCE)
    with ThreadPoolExecutor(2) as pool, crowd.place("asks-itself"):
        late = pool.submit(_visit, crowd)
        time.sleep(PATIENCE / 4)
        assert not late.done(), "the extra place is gone with who had it"


def test_one_place_serves_a_task_and_the_function_it_invokes() -> None:
    crowd = Crowd(at_once=1, patience=PATIENCE)
    began = time.monotonic()
    with crowd.place("validate-data"), crowd.place("validate-data"):
        assert time.monotonic() - began < PATIENCE


def _visit(crowd: Crowd) -> bool:
    with crowd.place("asks-itself"):
        return True
