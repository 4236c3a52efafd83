"""Benchmarks: ratios against stock tools measured in the same run, on the same machine."""
