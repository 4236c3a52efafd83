"""Which samples the taps of `models.taps` weigh, and which blocks they tell apart."""

REACH = 4
"""Of the diamond of samples around, rows and columns together."""

CLIPS = (0.5, 2.0)
"""Quantiser steps that differences to neighbours, and to the next samples, are clipped at."""

AROUND = tuple(
    (y, x)
    for y in range(REACH + 1)
    for x in range(-REACH, REACH + 1)
    if (y > 0 or x > 0) and abs(y) + abs(x) <= REACH
)
"""(rows, columns) from a sample to one of each pair around it."""

DISTANCES = (1, 5, 16)
"""Of neighbours, in pictures. Near ones are copied from each other, with their errors; those far off know
something new, key pictures most: where they are near enough, they take the place of the farthest.
"""

NEXT = ((0, 1), (1, 0), (1, 1), (1, -1))
"""The same of the pairs that are clipped too, and of those in neighbours."""

PAIRED = len(AROUND) + len(CLIPS) * len(NEXT)
"""Taps on the picture itself: around, and next ones clipped."""

OF_NEIGHBOURS = len(CLIPS) + len(NEXT)
"""Taps on the neighbours at one distance: these clipped, and next ones in them."""


def plain_taps(neighbours: int) -> int:
    """All taps on samples; one more is on what the network adds, which it makes stronger or weaker."""
    return PAIRED + OF_NEIGHBOURS * (neighbours // 2)


GRID = 8
"""Side of the blocks of JPEG and its like."""

ALONG = (-2, -1, 1, 2)
"""Samples, along a row and along a column, whose differences have weights for each place in the grid."""

GRID_UNIT = 0.25
"""What a weight of 1 makes of such a difference."""

BLOCK = 4
"""Side of the blocks that are told apart."""

ACTIVE = (0.35, 1.0)
MOVING = (0.15, 0.4)
"""Mean differences, in quantiser steps, to the next samples and to the neighbours: where classes end."""

CLASSES = (len(ACTIVE) + 1) * (len(MOVING) + 1)

LAYERS = 6
"""Kinds of pictures that are told apart, by temporal layer: encoders filter low ones before they code them,
and quantise high ones more. Key pictures have no taps.
"""

SETS = 1 + CLASSES + LAYERS
"""Sets of weights: common ones, what classes of blocks add, and what layers add."""
