"""System calls that no lab needs and that have opened boxes before: a seccomp filter, as the kernel takes it."""

from __future__ import annotations

import platform
import struct

# ptrace process_vm_readv process_vm_writev add_key request_key keyctl bpf perf_event_open userfaultfd mount umount2
# pivot_root setns unshare kexec_load kexec_file_load init_module finit_module delete_module open_by_handle_at
_MACHINES = {  # audit architecture, clone, and the numbers of those calls (asm/unistd_64.h, asm-generic/unistd.h)
    "x86_64": (
        0xC000003E,
        56,
        (101, 310, 311, 248, 249, 250, 321, 298, 323, 165, 166, 155, 308, 272, 246, 320, 175, 313, 176, 304),
    ),
    "aarch64": (
        0xC00000B7,
        220,
        (117, 270, 271, 217, 218, 219, 280, 241, 282, 40, 39, 41, 268, 97, 104, 294, 105, 273, 106, 265),
    ),
}
# the same numbers everywhere: io_uring_*, open_tree … fspick, pidfd_getfd, process_madvise, mount_setattr
_NEWER = {425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442}
_CLONE3 = 435  # its flags lie behind a pointer; without it the C library takes clone
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW*, sched.h
_FOREIGN = 0x40000000  # x32's numbers begin here
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _NOT_PERMITTED, _NO_SUCH_CALL = 0x7FFF0000, 0x00050001, 0x00050026  # linux/seccomp.h, with EPERM and ENOSYS
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def forbidden() -> bytes:
    """The filter's program for this machine, `struct sock_filter` after `struct sock_filter`; empty for other machines."""
    if platform.machine() not in _MACHINES:
        return b""
    architecture, clone, numbers = _MACHINES[platform.machine()]
    refused = sorted({*numbers, *_NEWER})
    steps = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _NOT_PERMITTED)]
    steps += [(_LOAD, 0, 0, _NUMBER), (_AT_LEAST, len(refused) + 6, 0, _FOREIGN)]
    steps += [(_EQUAL, len(refused) - 1 - i + 6, 0, number) for i, number in enumerate(refused)]
    steps += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _NO_SUCH_CALL)]
    steps += [(_EQUAL, 0, 2, clone), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _NEW_NAMESPACES)]
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _NOT_PERMITTED)]
    return b"".join(struct.pack("HBBI", *step) for step in steps)
