"""Work done ahead: an iterator that runs in a thread of its own while its results are used, and jobs that run
side by side.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterator[T], count: int) -> Generator[T, None, None]:
    """The same items, up to `count` of them made before they are asked for; what `items` raises is raised.

    When the generator is closed, the thread ends with the item that it is at.
    """
    ready: queue.Queue[tuple[T] | BaseException | None] = queue.Queue()
    room = threading.Semaphore(count)
    closed = False

    def run() -> None:
        try:
            for item in items:
                ready.put((item,))
                room.acquire()
                if closed:
                    return
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while (result := ready.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            room.release()
            yield result[0]
    finally:
        closed = True
        room.release()


def side_by_side(jobs: Iterable[Callable[[], T]], pool: Executor, count: int) -> Generator[T, None, None]:
    """What jobs give, in their order, `count` of them and one more given to `pool` before it is asked for.

    Those that wait when the generator is closed, or a job raises, are not done.
    """
    given: deque[Future[T]] = deque()
    try:
        for job in jobs:
            given.append(pool.submit(job))
            if len(given) > count:
                yield given.popleft().result()
        while given:
            yield given.popleft().result()
    finally:
        for future in given:
            future.cancel()
