"""Writes VVC key pictures that decode to a given picture exactly, for parameter sets that another encoder
chose.
"""

from nnvvc.vvc.irap.writer import check_parameter_sets, warm_up, write_key_slice

__all__ = ["check_parameter_sets", "warm_up", "write_key_slice"]
