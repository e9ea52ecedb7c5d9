"""The filter of system calls, run step by step as the kernel would, for both kinds of machines."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import re
import struct
from pathlib import Path

import pytest

from courseware.grading import seccomp

ALLOWED, DONE, NOT_PERMITTED, NO_SUCH_CALL, NO_SUCH_FAMILY, NOT_SUPPORTED = (
    0x7FFF0000,
    0x50000,
    0x50001,
    0x50026,
    0x50061,
    0x5005F,
)
READ = {"x86_64": 0, "aarch64": 63}
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}


def answer(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """What the filter answers to a system call."""
    data = struct.pack("IIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    at = value = 0
    while True:
        code, yes, no, operand = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                (value,) = struct.unpack_from("I", data, operand)
            case 0x06:
                return operand
            case _:
                holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
                at += yes if holds else no


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_each_call_has_its_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: name)
    program, number = seccomp.forbidden(), seccomp.numbers(name)

    def says(call: str | int, *arguments: int) -> int:
        return answer(program, seccomp._MACHINES[name], number[call] if isinstance(call, str) else call, *arguments)

    assert says(READ[name]) == ALLOWED and says(500) == ALLOWED
    assert answer(program, 0x40000003, READ[name]) == NOT_PERMITTED  # 32 bits have other numbers
    assert says(0x40000000) == NOT_PERMITTED
    assert {says(call) for call in seccomp._DANGEROUS} == {NOT_PERMITTED}
    assert {says(call) for call in seccomp._MISSING} == {NO_SUCH_CALL}
    assert {says(call) for call in seccomp._INERT} == {DONE}
    assert {says("fcntl", 3, command) for command in (6, 7, 37, 38)} == {DONE}  # a lock that nobody sees
    assert {says("fcntl", 3, command) for command in (5, 36, 1024, 1026, 1036)} == {NOT_PERMITTED}
    assert {says("fcntl", 3, command) for command in (0, 1, 2, 3, 4, 1030, 1033)} == {ALLOWED}
    assert says("madvise", 0, 0, 4) == ALLOWED and says("madvise", 0, 0, 21) == DONE
    assert says("prctl", 15) == ALLOWED and says("prctl", 4, 0) == NOT_PERMITTED
    for vectored in ("preadv2", "pwritev2"):
        assert says(vectored, 3, 0, 1, 0, 0, 0) == ALLOWED and says(vectored, 3, 0, 1, 0, 0, 8) == NOT_SUPPORTED
    for socket in ("socket", "socketpair"):
        assert {says(socket, family) for family in (1, 2, 10, 16)} == {ALLOWED}
        assert {says(socket, family) for family in range(50) if family not in (1, 2, 10, 16)} == {NO_SUCH_FAMILY}
    assert says("clone", 0x11) == ALLOWED and says("clone", 0x10000011) == NOT_PERMITTED


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_numbers_are_libseccomp_s(name: str) -> None:
    """What libseccomp does not know yet it says -1 to; what it knows has the number of that machine."""
    if not (found := ctypes.util.find_library("seccomp")):
        pytest.skip("libseccomp is not installed")
    resolve = ctypes.CDLL(found).seccomp_syscall_resolve_name_arch
    resolve.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    theirs = {call: resolve(seccomp._MACHINES[name], call.encode()) for call in seccomp.numbers(name)}
    known = {call: number for call, number in theirs.items() if number != -1}
    assert len(known) > 50 and known.items() <= seccomp.numbers(name).items()


def test_numbers_are_the_kernel_s() -> None:
    """The newest calls too, where Linux's headers are installed."""
    headers = [path for path in map(Path, HEADERS.get(platform.machine(), ())) if path.exists()]
    if not headers:
        pytest.skip("Linux's headers are not installed")
    pattern = re.compile(r"^#define __NR(?:3264)?_(\w+)\s+(\d+)", re.MULTILINE)
    theirs = {call: int(number) for call, number in pattern.findall(headers[0].read_text(encoding="utf-8"))}
    ours = seccomp.numbers(platform.machine())
    assert {call: theirs[call] for call in ours if call in theirs}.items() <= ours.items() and len(theirs) > 300


def test_no_filter_for_a_machine_that_it_is_not_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.forbidden() == b""
