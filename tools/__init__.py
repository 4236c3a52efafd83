"""Programs for developers of nnvvc: the demonstration, benchmarks, fuzzing."""
