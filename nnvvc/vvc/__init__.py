"""VVC: the tools that encode and decode it, and the writer of lossless key pictures."""
