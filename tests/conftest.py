"""What holds for all tests: none fails because a machine is busy."""

from hypothesis import settings

settings.register_profile("nnvvc", deadline=None)
settings.load_profile("nnvvc")
