"""Training samples that are made once, by all cores, and kept.

A device that learns faster than a processor cuts photos draws its batches from them.
"""

import mmap
import multiprocessing
import os
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Make = Callable[[np.random.Generator], Sequence[NDArray[np.generic]]]
"""One sample: arrays whose shapes and dtypes are always the same."""


def filled(count: int, make: Make, seed: int = 0, workers: int | None = None) -> list[Tensor]:
    """`count` samples of `make`, one tensor (count, ...) for each of its arrays.

    They depend on `seed` alone, not on the number of workers: processes that share memory with this one, as
    many as there are cores.
    """
    like = make(np.random.default_rng(seed))
    results = [_shared((count, *a.shape), a.dtype) for a in like]
    workers = min(count, workers or len(os.sched_getaffinity(0)))

    def work(first: int) -> None:
        # A child of a process that has threads must start none.
        torch.set_num_threads(1)
        cv2.setNumThreads(0)
        for number in range(first, count, workers):
            for result, array in zip(results, make(np.random.default_rng((seed, number))), strict=True):
                result[number] = array

    children = [multiprocessing.get_context("fork").Process(target=work, args=(i,)) for i in range(workers)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    if any(child.exitcode for child in children):
        raise RuntimeError("a process that makes training samples ended early; its message is above")
    return [torch.from_numpy(r) for r in results]


def _shared(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> NDArray[np.generic]:
    size = int(np.prod(shape)) * dtype.itemsize
    return np.frombuffer(mmap.mmap(-1, size), dtype).reshape(shape)
