"""Code that passes given tests, run where it can do no harm: what hostile programs try, and what they do not get."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from training.errors import TrainingError
from training.events import EventLog
from training.records import Prompt
from training.rewards import sandbox, spec
from training.rewards.code_tests import CodeTestsSource
from training.rewards.sandbox import Limits, run_tests
from training.rewards.source import Failure

ROOT = Path(__file__).resolve().parents[2]
LIMITS = Limits(seconds=5)


def passed(program, *tests, limits=LIMITS) -> list[int]:
    return sorted(run_tests(program, list(tests), limits).passed)


def test_each_test_is_judged_by_itself():
    program = "def double(x):\n    import decimal, statistics\n    return x * 2"
    assert passed(program, "assert double(2) == 4", "assert double(2) == 5", "assert double('a') == 'aa'") == [0, 2]
    assert passed(program, "import sys; sys.exit()", "assert double(1) == 2") == [1]


@pytest.mark.parametrize(
    "program",
    [
        "def f(:",
        "1 / 0",
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "def f(): f()\nf()",
        "import ctypes; ctypes.string_at(0)",
        "x = '\\ud800'; import os; os.kill(os.getpid(), 9) or 1 / 0",
    ],
)
def test_a_program_that_ends_passes_nothing(program):
    assert passed(program, "assert True") == []


def test_an_endless_loop_ends_with_its_time_and_keeps_what_passed_before():
    started = time.monotonic()
    program = "def f(x):\n    while x == 2: pass\n    return 1"
    outcome = run_tests(program, ["assert f(1)", "assert f(2)", "assert f(1)"], Limits(seconds=1))
    assert outcome.timed_out and outcome.passed == {0} and time.monotonic() - started < 4


def test_a_sleeper_ends_too():
    assert run_tests("import time; time.sleep(60)", ["assert True"], Limits(seconds=1)).timed_out


def test_memory_is_bounded():
    program = "def f(n):\n    try: return len(bytearray(n))\n    except MemoryError: return 0"
    assert passed(program, "assert f(1 << 20)", "assert f(1 << 30)", "assert not f(1 << 30)") == [0, 2]


def test_a_fork_bomb_stays_small_and_dies():
    program = (
        "import os, time\nn = 0\ntry:\n    while True:\n        if os.fork() == 0:\n            time.sleep(60)\n"
        "        n += 1\nexcept OSError:\n    pass"
    )
    outcome = run_tests(program, ["assert 0 < n <= 8", "open('n', 'w')"], Limits(seconds=2, processes=8))
    assert outcome.passed == {0, 1} and outcome.timed_out
    until = time.monotonic() + 5  # the killed are gone once the kernel has come round to them
    while left := _programs():
        assert time.monotonic() < until, left
        time.sleep(0.05)


def _programs() -> list[str]:
    """Processes of sandboxed programs, by their command lines."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [str(place)] if "sandbox_child" in place.read_text() else []
    return found


def test_no_socket_of_any_kind():
    program = (
        "import socket\ndef opens(family):\n    try: socket.socket(family)\n    except OSError: return False\n"
        "    return True"
    )
    families = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK")
    assert passed(program, *[f"assert not opens(socket.{family})" for family in families]) == [0, 1, 2, 3]


def test_no_secret_of_the_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "s3cret")
    program = (
        "import glob, os\nseen = [str(dict(os.environ))]\n"
        "for place in ['/proc/self/environ', *glob.glob('/proc/*/environ')]:\n"
        "    try: seen.append(open(place).read())\n    except OSError: pass"
    )
    assert passed(program, "assert not any('s3cret' in text for text in seen)") == [0]


def test_files_are_its_own_folders_only(tmp_path):
    tmp_path.chmod(0o777)
    (tmp_path / "secret").write_text("s3cret")
    (tmp_path / "secret").chmod(0o666)
    outcome = run_tests(
        "def can(mode, path):\n    try:\n        with open(path, mode): return True\n    except OSError: return False",
        [
            "assert can('w', 'mine') and can('r', 'mine')",
            f"assert not can('r', {str(tmp_path / 'secret')!r})",
            f"assert not can('a', {str(tmp_path / 'secret')!r})",
            f"assert not can('w', {str(tmp_path / 'new')!r})",
            "assert not can('w', '/dev/shm/new') and not can('r', '/etc/passwd')",
        ],
        LIMITS,
    )
    if "files" not in outcome.layers:
        pytest.skip("this kernel has no Landlock")
    assert outcome.passed == {0, 1, 2, 3, 4}
    assert (tmp_path / "secret").read_text() == "s3cret" and not (tmp_path / "new").exists()


def test_files_have_a_largest_size():
    program = (
        "size = 0\ntry:\n    with open('big', 'wb') as file:\n        while True: size += file.write(bytes(1 << 16))\n"
        "except OSError: pass"
    )
    assert passed(program, "assert 0 < size <= 1 << 20") == [0]


def test_output_without_end_is_nobodys_memory():
    outcome = run_tests("while True: print('x' * 100_000)", ["assert True"], Limits(seconds=1))
    assert outcome.timed_out and not outcome.passed


def test_a_report_that_nobody_asked_for_passes_nothing():
    program = (
        "import os\nfor _ in range(100_000):\n    for number in range(3, 20):\n"
        '        try: os.write(number, b\'{"passed": 0, "secret": ""}\\n\' * 1000)\n        except OSError: pass'
    )
    assert passed(program, "assert False", limits=Limits(seconds=2)) == []


def test_other_processes_are_out_of_reach():
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "def refused(call, *arguments):\n    try: call(*arguments); return False\n    except OSError: return True"
    )
    assert passed(
        program,
        "assert refused(os.kill, os.getppid(), 9)",
        "assert refused(os.setsid)",
        "assert libc.unshare(0x10000000) == -1 and libc.ptrace(0, 0, 0, 0) == -1",
        "assert refused(os.setpgid, 0, 0)",
    ) == [0, 1, 2, 3]


def test_nothing_is_left_behind():
    before = set(Path("/tmp").glob("prefloop-program-*"))
    passed("open('x', 'w').write('x')", "assert True")
    assert set(Path("/tmp").glob("prefloop-program-*")) <= before


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run without root's rights already")
def test_it_holds_without_roots_rights_too():
    """Where the worker is a user like any other: no user of its own to become, but the filter and Landlock hold."""
    interpreter = "/usr/bin/python3"
    if not Path(interpreter).exists():
        pytest.skip("there is no Python that every user may run")
    child = (ROOT / "training/rewards/sandbox_child.py").read_text()
    job = {
        "program": "import os, socket\ndef refused(call, *arguments):\n    try: call(*arguments); return False\n"
        "    except OSError: return True",
        "tests": ["assert refused(socket.socket)", "assert refused(os.kill, os.getppid(), 0)", "assert os.getuid()"],
        "secret": "s", "report": 1, "uid": None, "seconds": 5, "memory": 1 << 29, "file_size": 1 << 20,
        "processes": 8, "running": 50,
    }  # fmt: skip
    done = subprocess.run(
        [interpreter, "-I", "-S", "-B", "-c", child],
        input=json.dumps(job), capture_output=True, text=True, user=65534, group=65534, extra_groups=[], cwd="/tmp",
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "user" not in lines[0]["ready"] and [line["passed"] for line in lines[1:]] == [0, 1, 2], done.stderr


def test_where_nothing_keeps_a_program_from_files_it_is_not_run(monkeypatch, tmp_path):
    """As on a kernel without Landlock, for a worker that is not root."""
    child = tmp_path / "child.py"
    text = (ROOT / "training/rewards/sandbox_child.py").read_text()
    child.write_text(text.replace("version = _libc.syscall(444, None, 0, 1)", "version = -1"))
    tmp_path.chmod(0o755)
    monkeypatch.setattr(sandbox, "_CHILD", child)
    monkeypatch.setattr(sandbox, "_interpreter", lambda: (sys.executable, False))
    with pytest.raises(TrainingError, match="cannot be run safely on this machine"):
        run_tests("open('ran', 'w')", ["assert True"], LIMITS)


# --- as a source ------------------------------------------------------------------------------------------------------


def test_the_share_of_tests_or_all_of_them(tmp_path):
    tests = ["assert add(1, 2) == 3", "assert add(1, 1) == 2", "assert add('a', 'b') == 'ab'"]
    good = "Here it is:\n```python\ndef add(a, b):\n    return a + b\n```\nDone."
    half = "def add(a, b):\n    return int(a) + int(b)"
    ask = Prompt([{"role": "user", "content": "Add."}], {"tests": tests})
    log = EventLog(tmp_path)
    source = CodeTestsSource(spec.CodeTests(timeout=5), log)
    assert source.score([ask] * 3, [good, half, "I cannot."]) == pytest.approx([1, 2 / 3, 0])
    assert CodeTestsSource(spec.CodeTests(all=True), log).score([ask] * 2, [good, half]) == [1, 0]
    assert isinstance(source.score([Prompt(ask.messages)], [good])[0], Failure)
    assert "programs run with no sockets and signals" in log.path.read_text()
