import sys
import threading
import time
from collections.abc import Iterator

import psutil
import pytest

from nnvvc.errors import ToolFailed, ToolMissing, ToolTimeout
from nnvvc.process import OUTPUT_FD, ChildProcess


def _python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


COPY = "import sys, shutil; shutil.copyfileobj(sys.stdin.buffer, sys.stdout.buffer)"


def test_what_is_fed_comes_back() -> None:
    data = [bytes([i]) * 300_000 for i in range(20)]
    with ChildProcess(_python(COPY), name="copy") as child:
        child.feed(data)
        assert b"".join(child.read()) == b"".join(data)
        child.finish()


def test_blocks_have_their_size_and_a_rest_is_an_error() -> None:
    with ChildProcess(_python(COPY), name="copy") as child:
        child.feed([b"abc", b"defg", b"hij"])
        blocks = child.read_blocks(4)
        assert [bytes(next(blocks)), bytes(next(blocks))] == [b"abcd", b"efgh"]
        with pytest.raises(ToolFailed, match="inside a picture"):
            next(blocks)


def test_messages_stay_out_of_an_output_with_its_own_pipe() -> None:
    code = "import os, sys; print('a warning', flush=True); os.write(int(sys.argv[1]), b'data')"
    with ChildProcess(_python(code, OUTPUT_FD), name="talker") as child:
        child.feed(())
        assert b"".join(child.read()) == b"data"
        child.finish()


def test_a_failure_names_the_tool_and_its_last_words() -> None:
    with ChildProcess(_python("import sys; sys.exit('no such codec')"), name="the tool") as child:
        child.feed([b"x" * 10_000_000])
        list(child.read())
        with pytest.raises(ToolFailed, match="the tool failed with status 1: no such codec"):
            child.finish()


def test_a_crash_is_a_tool_error() -> None:
    with ChildProcess(_python("import os; os.abort()"), name="the tool") as child:
        child.feed(())
        list(child.read())
        with pytest.raises(ToolFailed, match="SIGABRT"):
            child.finish()


def test_a_child_that_does_nothing_is_stopped() -> None:
    with ChildProcess(_python("import time; time.sleep(100)"), name="sleeper", stall_seconds=0.5) as child:
        child.feed(())
        with pytest.raises(ToolTimeout, match="sleeper"):
            list(child.read())


def test_a_child_that_waits_for_slow_input_is_not() -> None:
    def slow() -> Iterator[bytes]:
        time.sleep(1.5)
        yield b"late"

    with ChildProcess(_python(COPY), name="copy", stall_seconds=0.5) as child:
        child.feed(slow())
        assert b"".join(child.read()) == b"late"


@pytest.mark.parametrize("error", [ValueError("bad"), OSError("bad"), KeyboardInterrupt()])
def test_an_error_of_the_input_is_passed_on(error: BaseException) -> None:
    def failing() -> Iterator[bytes]:
        yield b"x"
        raise error

    with ChildProcess(_python(COPY), name="copy") as child:
        child.feed(failing())
        with pytest.raises(type(error)):
            list(child.read())


def test_memory_is_limited() -> None:
    code = "x = bytearray(1 << 30); print(len(x))"
    with ChildProcess(_python(code), name="eater", memory_bytes=300 << 20) as child:
        child.feed(())
        list(child.read())
        with pytest.raises(ToolFailed, match="memory limit of 300 MiB"):
            child.finish()


def test_leaving_the_block_ends_the_child_and_its_threads() -> None:
    before = threading.active_count()
    with ChildProcess(_python("import time; print('x' * 10_000_000); time.sleep(100)"), name="x") as child:
        child.feed(iter([b"x"] * 3))
        next(child.read())
        pid = child._process.pid
    assert not psutil.pid_exists(pid)
    assert threading.active_count() == before


def test_a_tool_that_is_not_there_is_our_error() -> None:
    with pytest.raises(ToolMissing, match="doctor"):
        ChildProcess(["/nonexistent/tool"], name="nothing")
