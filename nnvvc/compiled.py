"""Loops that numba compiles, whose machine code is kept from one run to the next.

numba takes what it has kept for as good as new while the file of a function is what it was. But constants,
and functions that are compiled into others, come from other files: here all modules that a module imports
from its package have to be the same, or a new version would go on with code of the one before.
"""

import ast
from collections.abc import Callable, Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching

Function = TypeVar("Function", bound=Callable[..., Any])


@lru_cache(maxsize=256)
def _imported(module: Path, package: Path) -> tuple[Path, ...]:
    """Files in a package that may be what a module imports at its top, by their full names."""

    def names() -> Iterator[str]:
        for node in ast.parse(module.read_bytes()).body:
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    paths = (package.parent.joinpath(*name.split(".")).with_suffix(".py") for name in names())
    return tuple(sorted({path for path in paths if path.is_relative_to(package) and path.exists()}))


def _stamp(module: Path) -> str:
    """Of a module, and all that it imports from its package, by their sizes and times."""
    package = module.parent
    while (package.parent / "__init__.py").exists():
        package = package.parent
    found, left = {module}, [module]
    while left:
        more = set(_imported(left.pop(), package)) - found
        found |= more
        left += more
    stamp = sha256()
    for path in sorted(found):
        facts = path.stat()
        stamp.update(f"{path.relative_to(package)} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return stamp.hexdigest()


class _OfAll:
    """What a place that numba keeps code in says of its being up to date."""

    _py_file: str

    def get_source_stamp(self) -> str:
        return _stamp(Path(self._py_file).resolve())


class WhereAsked(_OfAll, caching.UserProvidedCacheLocator):
    """`NUMBA_CACHE_DIR`."""


class Beside(_OfAll, caching.InTreeCacheLocator):
    """`__pycache__`, where it may be written."""


class OfUser(_OfAll, caching.UserWideCacheLocator):
    """Where the system has such things for each of its users."""


_OURS = [f"{__name__}.{place.__name__}" for place in (WhereAsked, Beside, OfUser)]
_PLACES = ",".join([*_OURS, "ZipCacheLocator"])

_config: Any = numba.config


def njit(**options: Any) -> Callable[[Function], Function]:
    """`numba.njit`, for functions of a package."""

    def compiled(function: Function) -> Function:
        before = _config.CACHE_LOCATOR_CLASSES
        _config.CACHE_LOCATOR_CLASSES = _PLACES
        try:
            found: Function = numba.njit(**options)(function)
        finally:
            _config.CACHE_LOCATOR_CLASSES = before
        return found

    return compiled
