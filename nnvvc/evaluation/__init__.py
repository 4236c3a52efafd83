"""Measuring: rate against task accuracy and fidelity, from real files, with anchors to make again."""
