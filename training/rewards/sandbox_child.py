"""Inside the sandbox: takes every right from its own process, then runs a program and its tests. Only stdlib.

Started by `sandbox.py` as `python -I -S -B` with an empty environment, in an empty folder. Its standard input brings
two JSON objects, each after its length: how to be shut in and the program, and then the tests. Between the two it
forks. The program's process has never seen the tests and cannot report; the tests' process runs no line of the program
and asks it for what it computes (`sandbox_calls.py`). Line by line the latter reports on the file descriptor that it
was told: "ready" with the layers that hold, then each test that passed, or that is no Python to this interpreter. What
holds both, from the inside out:

- no_new_privs, no capabilities and a seccomp filter: no sockets, no signals, no new namespaces, no leaving the process
  group;
- Landlock: files are written in the own folder only, and read there and where Python lives;
- limits on CPU time, memory, file size, open files and processes;
- as root: a user number that nobody else has, a network namespace without any network, and as its folder a file
  system in memory of a few megabytes, which is gone with its last process.

The filter is required, and so is Landlock or a user of its own; the rest is reported where the kernel has it.
"""

import ctypes
import errno
import json
import os
import resource
import struct
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import sandbox_calls

sys.path.pop(0)

_libc = ctypes.CDLL(None, use_errno=True)

_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_CLONE_NEWIPC, _CLONE_NEWUSER, _CLONE_NEWNET = 0x08000000, 0x10000000, 0x40000000
_CLONE_NEWNS, _CLONE_NEW_ANY = 0x00020000, 0x7E020000 | 0x80
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REC, _MS_PRIVATE = 2, 4, 8, 0x4000, 0x40000

# System calls by number, (x86-64, arm64). What could reach beyond the process is refused.
_REFUSED = {
    "socket": (41, 198), "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "setsid": (112, 157),
    "setpgid": (109, 154), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "prlimit64": (302, 261),
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "unshare": (272, 97), "setns": (308, 268), "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41),
    "chroot": (161, 51), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "setpriority": (141, 140), "sched_setaffinity": (203, 122),
    "memfd_create": (319, 279), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    "sync": (162, 81), "syncfs": (306, 267),
    # Of other processes of the same user.
    "sched_setparam": (142, 118), "sched_setscheduler": (144, 119), "sched_setattr": (314, 274),
    "ioprio_set": (251, 30), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
# What Landlock leaves open: owners, modes, times and attributes of any file of the user that the program runs as.
_REFUSED_TO_A_SHARED_USER = {
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469),
}  # fmt: skip
# Whoever gets the signals of a file need not be oneself: F_SETOWN, F_SETOWN_EX.
_FCNTL, _SET_OWNER = (72, 25), (8, 15)
_CLONE, _CLONE3 = (56, 220), (435, 435)
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}


def main() -> None:
    job = received()
    limit(job)
    layers = {
        "network": no_network,
        "folder": lambda: small_folder(job["uid"], job["folder_size"], job["folder_files"]),
        "user": lambda: other_user(job["uid"]),
    }
    held = [name for name, layer in layers.items() if layer()]
    no_capabilities()
    if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        raise OSError("no_new_privs")
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if landlock("."):  # by its path it may be out of reach by now
        held.append("files")
    if not {"user", "files"} & set(held):
        raise OSError("nothing would keep the program from this user's files")
    seccomp(own_user="user" in held)
    (questions, asking), (answers, answering) = os.pipe(), os.pipe()
    if os.fork() == 0:
        for closed in (0, job["report"], asking, answers):
            os.close(closed)
        run_program(job["program"], questions, answering)
    os.close(questions), os.close(answering)
    run_tests(received(), {"ready": held}, sandbox_calls.Peer(answers, asking))


def received() -> dict:
    """The next JSON object of the standard input, and not a byte beyond: what follows is not for the program."""
    return json.loads(sandbox_calls.exactly(0, int.from_bytes(sandbox_calls.exactly(0, 8), "big")))


def limit(job: dict) -> None:
    for what, value in (
        (resource.RLIMIT_CPU, job["seconds"]),
        (resource.RLIMIT_AS, job["memory"]),
        (resource.RLIMIT_FSIZE, job["file_size"]),
        (resource.RLIMIT_NOFILE, 64),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (value, value))
    # Where memory runs out, it is the program that the kernel ends, and not who trains beside it.
    Path("/proc/self/oom_score_adj").write_text("1000")
    # Counted for the user, not for the program: on a user's own account what already runs there counts too.
    # One more is the tests' own.
    processes = job["processes"] + 1 + (job["running"] if job["uid"] is None else 0)
    resource.setrlimit(resource.RLIMIT_NPROC, (processes, processes))


def no_network() -> bool:
    """A namespace with no network; without root's right to one, the filter alone keeps sockets away."""
    return _libc.unshare(_CLONE_NEWNET | _CLONE_NEWIPC) == 0


def small_folder(uid: int | None, size: int, files: int) -> bool:
    """The folder as a file system of this size and so many files, which nobody else sees. Only root can have one."""
    folder = os.getcwd().encode()
    if uid is None or _libc.unshare(_CLONE_NEWNS) or _libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None):
        return False
    options = f"size={size},nr_inodes={files},mode=700,uid={uid},gid={uid}".encode()
    if _libc.mount(b"none", folder, b"tmpfs", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC, options):
        return False
    os.chdir(folder)
    return True


def other_user(uid: int | None) -> bool:
    if uid is None:
        return False
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    return True


def no_capabilities() -> None:
    """Root's rights, for a root that has no other user to become. They do not come back: no_new_privs."""
    number = (126, 91)[_ARCHITECTURES[os.uname().machine][0]]
    version_3_of_oneself, none = struct.pack("=Ii", 0x20080522, 0), bytes(24)
    if _libc.syscall(number, version_3_of_oneself, none):
        raise OSError(ctypes.get_errno(), "capset")


def landlock(folder: str) -> bool:
    """Reading and running where Python and its libraries lie, everything in `folder`, nothing else. Linux 5.13+."""
    version = _libc.syscall(444, None, 0, 1)
    if version < 1:
        return False
    execute, write, read, read_dir = 1, 2, 4, 8
    every_right = (1 << 13) - 1
    every_right |= (1 << 13) if version >= 2 else 0
    every_right |= (1 << 14) if version >= 3 else 0
    handled = struct.pack("=QQ", every_right, 0b11 if version >= 4 else 0)
    rules = _libc.syscall(444, handled, 16 if version >= 4 else 8, 0)
    if rules < 0:
        return False
    places = {sys.base_prefix, sys.base_exec_prefix, "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime"}
    allowed = [(place, execute | read | read_dir) for place in places] + [(folder, every_right)]
    allowed += [("/dev/null", read | write), ("/dev/urandom", read), ("/dev/zero", read)]
    for place, rights in allowed:
        try:
            handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        if not os.path.isdir(place):
            rights &= execute | write | read
        _libc.syscall(445, rules, 1, struct.pack("=Qi", rights, handle), 0)
        os.close(handle)
    done = _libc.syscall(446, rules, 0) == 0
    os.close(rules)
    return done


def seccomp(*, own_user: bool) -> None:
    """Refuse the calls above with EPERM; a wrong architecture ends the process. Raises OSError where it cannot hold."""
    column, architecture = _ARCHITECTURES[os.uname().machine]
    load, equal, at_least, any_bit, back = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, refuse, end = 0x7FFF0000, 0x00050000, 0x80000000
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (back, 0, 0, end), (load, 0, 0, 0)]
    if column == 0:  # the x32 calls have numbers of their own
        program += [(at_least, 0, 1, 0x40000000), (back, 0, 0, refuse | errno.ENOSYS)]
    refused = _REFUSED if own_user else {**_REFUSED, **_REFUSED_TO_A_SHARED_USER}
    for number in sorted(numbers[column] for numbers in refused.values() if numbers[column] is not None):
        program += [(equal, 0, 1, number), (back, 0, 0, refuse | errno.EPERM)]
    program += [(equal, 0, 5, _FCNTL[column]), (load, 0, 0, 24), (equal, 1, 0, _SET_OWNER[0])]
    program += [(equal, 0, 1, _SET_OWNER[1]), (back, 0, 0, refuse | errno.EPERM), (back, 0, 0, allow)]
    # clone3's flags lie in memory, where a filter cannot look: without it, the C library asks for clone.
    program += [(equal, 0, 1, _CLONE3[column]), (back, 0, 0, refuse | errno.ENOSYS)]
    program += [(equal, 0, 3, _CLONE[column]), (load, 0, 0, 16), (any_bit, 0, 1, _CLONE_NEW_ANY & ~0x80)]
    program += [(back, 0, 0, refuse | errno.EPERM), (back, 0, 0, allow)]
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    buffer = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("@HxxxxxxP", len(program), ctypes.addressof(buffer))
    if _libc.prctl(_PR_SET_SECCOMP, 2, header, 0, 0):
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")


def run_program(program: str, questions: int, answering: int) -> None:
    """The program once, and then what it is asked for. One that ends here or raises answers nothing."""
    names: dict = {"__name__": "__main__"}
    try:
        exec(compile(program, "<program>", "exec"), names)
        peer = sandbox_calls.Peer(questions, answering, names)
        peer.send("loaded")
        peer.serve()
    finally:
        os._exit(0)


def run_tests(job: dict, ready: dict, program: sandbox_calls.Peer) -> None:
    """Every test by itself, in names that they share. Ending early passes nothing: each pass is reported by itself."""
    report(job, ready)
    try:
        loaded = program.receive() == "loaded"
    except (EOFError, ValueError):
        loaded = False
    names = sandbox_calls.Names(program)
    for number, test in enumerate(job["tests"] if loaded else ()):
        try:
            code = compile(test, f"<test {number}>", "exec")
        except BaseException:
            report(job, {"no_python": number})
            continue
        try:
            exec(code, names)
        except BaseException:
            continue
        report(job, {"passed": number})
    os._exit(0)


def report(job: dict, value: dict) -> None:
    os.write(job["report"], json.dumps({**value, "secret": job["secret"]}).encode() + b"\n")


if __name__ == "__main__":
    main()
