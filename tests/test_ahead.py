import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from nnvvc.ahead import ahead, side_by_side


def test_items_come_in_order() -> None:
    assert list(ahead(iter(range(1000)), 3)) == list(range(1000))
    assert list(ahead(iter(()), 1)) == []


def test_what_is_raised_is_raised_behind_the_items_before() -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise KeyError("no more")

    items = ahead(failing(), 5)
    assert next(items) == 1
    with pytest.raises(KeyError, match="no more"):
        next(items)


def test_no_more_is_made_than_asked_for_and_closing_ends_the_thread() -> None:
    made: list[int] = []

    def counting() -> Iterator[int]:
        for i in range(100):
            made.append(i)
            yield i

    before = threading.active_count()
    items = ahead(counting(), 3)
    assert next(items) == 0
    time.sleep(0.2)
    assert len(made) <= 6
    items.close()
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before


def test_jobs_run_side_by_side_and_their_results_come_in_order() -> None:
    """Each of two jobs waits for the other one: they end only if both run."""
    together = threading.Barrier(2)

    def job(number: int) -> int:
        together.wait(10)
        return number

    with ThreadPoolExecutor(2) as pool:
        assert list(side_by_side((partial(job, i) for i in range(40)), pool, 2)) == list(range(40))


def test_no_more_jobs_are_taken_than_asked_for_and_an_error_ends_them() -> None:
    taken: list[int] = []
    done: list[int] = []

    def jobs() -> Iterator[Callable[[], None]]:
        for number in range(100):
            taken.append(number)
            yield partial(job, number)

    def job(number: int) -> None:
        done.append(number)
        if number == 3:
            raise KeyError("broken")

    with ThreadPoolExecutor(1) as pool, pytest.raises(KeyError, match="broken"):
        for _ in side_by_side(jobs(), pool, 2):
            assert len(taken) - len(done) <= 4
    assert max(taken) <= 6
