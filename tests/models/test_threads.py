"""Threads that networks compute in."""

import threading

import torch

from nnvvc.models.threads import lone_threads


def test_torch_computes_alone_in_each_and_elsewhere_as_before() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with lone_threads(2) as pool:
            together = threading.Barrier(2)

            def look() -> tuple[int, int]:
                together.wait(10)
                return torch.get_num_threads(), threading.get_ident()

            found = [f.result() for f in [pool.submit(look) for _ in range(2)]]
            assert [threads for threads, _ in found] == [1, 1] and found[0][1] != found[1][1]
            assert torch.get_num_threads() == 3
            others: list[int] = []
            thread = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
            thread.start()
            thread.join()
            assert others == [3]
    finally:
        torch.set_num_threads(before)
