"""Threads that networks compute in."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch


@contextmanager
def lone_threads(count: int) -> Iterator[ThreadPoolExecutor]:
    """Threads in which torch computes without help: whole pictures side by side keep processors busier than
    all of them at each layer of one. Ends when what was begun has ended.
    """
    threads = torch.get_num_threads()
    together = threading.Barrier(count)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # A thread takes over what was set last, whoever set it, when it first asks.
        together.wait()

    with ThreadPoolExecutor(count) as pool:
        for begun in [pool.submit(begin) for _ in range(count)]:
            begun.result()
        # What was set also holds for threads to come, which are not ours.
        torch.set_num_threads(threads)
        yield pool
