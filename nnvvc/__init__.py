"""A hybrid video codec for machines and people: learned key pictures, real VVC in between, one stream."""

__version__ = "0.1.0"
