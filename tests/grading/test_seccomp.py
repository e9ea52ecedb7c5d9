"""The filter of system calls, run step by step as the kernel would, for both kinds of machines."""

from __future__ import annotations

import platform
import struct

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
    program, machine = seccomp.forbidden(), seccomp._MACHINES[name]

    def says(number: int, *arguments: int) -> int:
        return answer(program, machine.architecture, number, *arguments)

    assert says(READ[name]) == ALLOWED and says(500) == ALLOWED
    assert answer(program, 0x40000003, READ[name]) == NOT_PERMITTED  # 32 bits have other numbers
    assert says(0x40000000) == NOT_PERMITTED
    assert {says(number) for number in (*machine.dangerous, *seccomp._NEWER_DANGEROUS)} == {NOT_PERMITTED}
    assert {says(number) for number in (*machine.missing, *seccomp._NEWER_MISSING)} == {NO_SUCH_CALL}
    assert {says(number) for number in machine.inert} == {DONE}
    assert {says(machine.fcntl, 3, command) for command in (6, 7, 37, 38)} == {DONE}  # a lock that nobody sees
    assert {says(machine.fcntl, 3, command) for command in (5, 36, 1024, 1026, 1036)} == {NOT_PERMITTED}
    assert {says(machine.fcntl, 3, command) for command in (0, 1, 2, 3, 4, 1030, 1033)} == {ALLOWED}
    assert says(machine.madvise, 0, 0, 4) == ALLOWED and says(machine.madvise, 0, 0, 21) == DONE
    assert says(machine.prctl, 15) == ALLOWED and says(machine.prctl, 4, 0) == NOT_PERMITTED
    for vectored in (machine.preadv2, machine.pwritev2):
        assert says(vectored, 3, 0, 1, 0, 0, 0) == ALLOWED and says(vectored, 3, 0, 1, 0, 0, 8) == NOT_SUPPORTED
    for socket in (machine.socket, machine.socketpair):
        assert {says(socket, family) for family in (1, 2, 10, 16)} == {ALLOWED}
        assert {says(socket, family) for family in range(50) if family not in (1, 2, 10, 16)} == {NO_SUCH_FAMILY}
    assert says(machine.clone, 0x11) == ALLOWED and says(machine.clone, 0x10000011) == NOT_PERMITTED


def test_no_filter_for_a_machine_that_it_is_not_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    assert seccomp.forbidden() == b""
