import threading
import time
from collections.abc import Iterator

import pytest

from nnvvc.ahead import ahead


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
