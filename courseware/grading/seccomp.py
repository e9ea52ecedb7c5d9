"""System calls that a box does without: a seccomp filter, as the kernel takes it.

Some have opened boxes before. Others carry a word from one box to another, or from one kernel to the next, by way of the
files that all boxes read: locks, leases and notices on them, and what of them is in memory. Others hold memory that no
process can be blamed for. Where honest programs call them for what they do not need here, the call is answered with success
and does nothing: databases and caches lock their own files, and nobody else is in the box.
"""

from __future__ import annotations

import platform
import struct
from dataclasses import dataclass

_CLONE3 = 435  # its flags lie behind a pointer; without it the C library takes clone
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, sched.h
_FOREIGN = 0x40000000  # x32's numbers begin here
_SOCKETS = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: those that a network namespace, or the box, confines
_LOCK = (6, 7, 37, 38)  # fcntl: F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW
# F_GETLK, F_OFD_GETLK, F_SETLEASE, F_GETLEASE, F_NOTIFY, F_*_RW_HINT
_ASK_LOCK = (5, 36, 1024, 1025, 1026, 1035, 1036, 1037, 1038)
_EVICT = (20, 21)  # madvise: MADV_COLD, MADV_PAGEOUT
_DUMPABLE = 4  # prctl: PR_SET_DUMPABLE, which hides a process from the grader's eyes

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h; with the error's number, and 0 is success
_DONE, _NOT_PERMITTED, _NO_SUCH_CALL, _NO_SUCH_FAMILY, _NOT_SUPPORTED = 0, 1, 38, 97, 95  # asm-generic/errno.h

Step = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Machine:
    """Numbers of system calls (asm/unistd_64.h, asm-generic/unistd.h)."""

    architecture: int  # linux/audit.h
    clone: int
    fcntl: int
    madvise: int
    prctl: int
    preadv2: int
    pwritev2: int
    socket: int
    socketpair: int
    # ptrace process_vm_readv process_vm_writev add_key request_key keyctl bpf perf_event_open userfaultfd mount umount2
    # pivot_root setns unshare kexec_load kexec_file_load init_module finit_module delete_module open_by_handle_at syslog
    dangerous: tuple[int, ...]
    # inotify_add_watch fanotify_init fanotify_mark mincore io_setup io_submit shmget msgget semget memfd_create
    missing: tuple[int, ...]
    # flock fadvise64 sched_setaffinity
    inert: tuple[int, ...]


_MACHINES = {
    "x86_64": _Machine(
        0xC000003E, 56, 72, 28, 157, 327, 328, 41, 53,
        (101, 310, 311, 248, 249, 250, 321, 298, 323, 165, 166, 155, 308, 272, 246, 320, 175, 313, 176, 304, 103),
        (254, 300, 301, 27, 206, 209, 29, 68, 64, 319),
        (73, 221, 203),
    ),
    "aarch64": _Machine(
        0xC00000B7, 220, 25, 233, 167, 286, 287, 198, 199,
        (117, 270, 271, 217, 218, 219, 280, 241, 282, 40, 39, 41, 268, 97, 104, 294, 105, 273, 106, 265, 116),
        (27, 262, 263, 232, 0, 2, 194, 186, 190, 279),
        (32, 223, 122),
    ),
}  # fmt: skip
# the same numbers everywhere: io_uring_*, open_tree … fspick, pidfd_getfd, process_madvise, mount_setattr, open_tree_attr
_NEWER_DANGEROUS = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442, 467)
_NEWER_MISSING = (_CLONE3, 447, 451)  # and memfd_secret, cachestat


def forbidden() -> bytes:
    """The filter's program for this machine, `struct sock_filter` after `struct sock_filter`; empty for other machines."""
    machine = _MACHINES.get(platform.machine())
    if machine is None:
        return b""
    steps: list[Step] = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, machine.architecture), _refuse(_NOT_PERMITTED)]
    steps += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, 0, 1, _FOREIGN), _refuse(_NOT_PERMITTED)]
    steps += _calls((*machine.dangerous, *_NEWER_DANGEROUS), _NOT_PERMITTED)
    steps += _calls((*machine.missing, *_NEWER_MISSING), _NO_SUCH_CALL)
    steps += _calls(machine.inert, _DONE)
    steps += _argument(machine.fcntl, 1, _EQUAL, _LOCK, _DONE)
    steps += _argument(machine.fcntl, 1, _EQUAL, _ASK_LOCK, _NOT_PERMITTED)
    steps += _argument(machine.madvise, 2, _EQUAL, _EVICT, _DONE)
    steps += _argument(machine.prctl, 0, _EQUAL, (_DUMPABLE,), _NOT_PERMITTED)
    for number in (machine.preadv2, machine.pwritev2):  # RWF_NOWAIT asks what is in memory, RWF_DONTCACHE removes it
        steps += _argument(number, 5, _ANY_BIT, (0xFFFFFFFF,), _NOT_SUPPORTED)
    for number in (machine.socket, machine.socketpair):
        steps += _argument(number, 0, _EQUAL, _SOCKETS, _NO_SUCH_FAMILY, otherwise=True)
    steps += _argument(machine.clone, 0, _ANY_BIT, (_NEW_NAMESPACES,), _NOT_PERMITTED)
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (_RETURN, 0, 0, _ALLOW)])


def _refuse(error: int) -> Step:
    return _RETURN, 0, 0, _ERRNO | error


def _calls(numbers: tuple[int, ...], error: int) -> list[Step]:
    """Answer these calls with an error."""
    wanted = sorted(set(numbers))
    return [
        *((_EQUAL, len(wanted) - i, 0, number) for i, number in enumerate(wanted)),
        (_AT_LEAST, 1, 1, 0),  # always: past the answer
        _refuse(error),
    ]


def _argument(call: int, place: int, how: int, values: tuple[int, ...], error: int, otherwise: bool = False) -> list[Step]:
    """Answer a call with an error when the low half of one of its arguments fits one of `values`; `otherwise`: fits none."""
    last = len(values) - 1
    past = int(otherwise)  # the step after the last comparison is the answer
    fits = [(how, last - i + past, 0 if i < last else 1 - past, value) for i, value in enumerate(values)]
    inner = [(_LOAD, 0, 0, _ARGUMENTS + 8 * place), *fits, _refuse(error), (_LOAD, 0, 0, _NUMBER)]
    return [(_EQUAL, 0, len(inner), call), *inner]
