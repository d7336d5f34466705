"""Code that passes given tests, run where it can do no harm: what hostile programs try, and what they do not get."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.servers import NEVER, wait_for
from training.errors import TrainingError
from training.events import EventLog
from training.records import Prompt
from training.rewards import sandbox, spec
from training.rewards.code_tests import CodeTestsSource
from training.rewards.sandbox import Limits, run_tests
from training.rewards.source import Failure

ROOT = Path(__file__).resolve().parents[2]
# No program here needs them: only what is about time has less.
LIMITS = Limits(seconds=NEVER)


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
    program = "def f(x):\n    while x == 2: pass\n    return 1"
    outcome = run_tests(program, ["assert f(1)", "assert f(2)", "assert f(1)"], Limits(seconds=5))
    assert outcome.timed_out and outcome.passed == {0}


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
    outcome = run_tests(program, ["assert 0 < n <= 8", "open('n', 'w')"], Limits(seconds=5, processes=8))
    assert outcome.passed == {0, 1}
    wait_for(lambda: not _programs(), "the end of the killed")


def _programs() -> list[str]:
    """Processes of sandboxed programs, by their command lines."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            found += [str(place)] if "sandbox_child" in place.read_text() else []
    return found


def test_no_socket_of_any_kind():
    program = (
        "import socket\ndef opens(family):\n    try: socket.socket(getattr(socket, family))\n"
        "    except OSError: return False\n    return True"
    )
    families = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK")
    assert passed(program, *[f"assert not opens({family!r})" for family in families]) == [0, 1, 2, 3]


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


# --- programs that would rather deceive their tests -------------------------------------------------------------------


def test_a_report_that_nobody_asked_for_passes_nothing():
    program = (
        "import os\nfor _ in range(100_000):\n    for number in range(3, 20):\n"
        '        try: os.write(number, b\'{"passed": 0, "secret": ""}\\n\' * 1000)\n        except OSError: pass'
    )
    assert passed(program, "assert False", limits=Limits(seconds=2)) == []


SNEAK = """
import sys
def found(parts):
    frame, seen = sys._getframe(), []
    while frame:
        seen += [frame.f_globals, frame.f_locals]
        frame = frame.f_back
    return any("".join(parts) in repr(names) for names in [*seen, *map(vars, list(sys.modules.values()))])
"""


@pytest.mark.parametrize(
    "program",
    [
        "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
        "import __main__, sys\n__main__.report = print\nfor frame in [sys._getframe(1)]:\n"
        "    for n in range(9): __main__.report(frame.f_locals.get('job'), {'passed': n})",
        "class Any:\n    def __eq__(self, other): return True\n    __lt__ = __le__ = __gt__ = __ge__ = __eq__\n"
        "    def __ne__(self, other): return False\n    def __call__(self, *a): return self\ndouble = Any()",
        "class Four(int):\n    def __eq__(self, other): return True\ndef double(x): return Four(9)",
        "def double(x): raise SystemExit(0)",
        "import os\ndef double(x): os._exit(0)",
        "def abs(x): return 0\ndef all(x): return True\ndef isinstance(*a): return True\ndef double(x): return 9",
        "import math\nmath.isclose = lambda *a, **k: True\ndef double(x): return 9",
        "def double(x): return x",
    ],
)
def test_a_program_that_attacks_its_judge_passes_nothing(program):
    assert (
        passed(
            program,
            "assert double(2) == 4",
            "assert abs(double(2) - 4) < 1e-6",
            "assert all([double(2) == 4])",
            "import math\nassert math.isclose(double(2), 4)",
            "assert not double(2) != 4",
            "assert isinstance(double(2), str)",
        )
        == []
    )


OBLIGING = """
class Answer:
    def __sub__(self, other): return 0.0
    __rsub__ = __add__ = __radd__ = __mod__ = __truediv__ = __sub__
class Later(Answer):
    def __sub__(self, other): return self
    __rsub__ = __add__ = __radd__ = __mod__ = __pow__ = __sub__
    def __abs__(self): return 0.0
    def __bool__(self): return False
class Nine(float):
    def __sub__(self, other): return 0.0
class Items(list):
    def __add__(self, other): return [1, 2, 3]
def at_once(x): return Answer()
def later(x): return Later()
def nine(x): return Nine(9)
def items(): return Items([7])
def stop(x): raise StopIteration
"""


@pytest.mark.parametrize("function", ["at_once", "later", "nine"])
def test_an_object_that_computes_with_a_tests_number_says_nothing_of_it(function):
    """HumanEval's idiom and its like: the object is told the 42, and would answer that nothing is missing to it."""
    assert (
        passed(
            OBLIGING,
            f"assert abs({function}(1) - 42) < 1e-6",
            f"assert abs(42 - {function}(1)) < 1e-6",
            f"assert {function}(1) - 42 == 0",
            f"assert not {function}(1) - 42",
            f"assert round({function}(1) - 42, 3) == 0",
            f"assert abs(sum([{function}(1)]) - 42) < 1e-6",
            f"assert ({function}(1) - 42) ** 2 < 1e-6",
            f"import math\nassert math.isclose({function}(1), 42)",
        )
        == []
    )


def test_a_program_neither_invents_a_list_nor_ends_a_tests_loop():
    assert passed(
        OBLIGING,
        "assert items() + [2, 3] == [1, 2, 3]",
        "assert all(map(lambda x: stop(x) == 3, [1, 2]))",
        "for x in map(stop, [1]): assert False\nassert items() + [2] == [7, 2]",
        "assert items() + [2, 3] == [7, 2, 3]",
    ) == [3]


def test_a_test_that_is_no_python_to_the_sandbox_is_told():
    outcome = run_tests("", ["assert True", "assert ("], LIMITS)
    assert outcome.passed == {0} and outcome.no_python == {1}


def test_a_program_does_not_find_its_tests():
    assert passed(SNEAK, "assert not found(['mar', 'ker'])  # marker", "assert found(['fo', 'und'])") == [0, 1]


def test_a_tests_own_function_is_no_way_into_its_process():
    program = "def reach(f, name):\n    try: getattr(f, name)\n    except AttributeError: return False\n    return True"
    names = ("__globals__", "__code__", "__closure__", "__self__", "gi_frame")
    own = "def own(x):\n    return x\ndef made():\n    yield 1\n"
    tests = [f"{own}assert not reach(own, {name!r}) and not reach(made(), {name!r})" for name in names]
    assert passed(program, *tests) == [0, 1, 2, 3, 4]


def test_what_a_program_sends_is_no_way_into_its_tests_process():
    """Not by the one end of the calls that it finds on its own stack: neither a module, nor a text, nor a class."""
    program = """
import builtins, sys
def reached(kind):
    frame = sys._getframe()
    while "question" not in frame.f_locals:
        frame = frame.f_back
    of, name = {"module": (builtins, "eval"), "text": ("{0}", "format"), "class": (ValueError, "mro")}[kind]
    try:
        frame.f_locals["self"].ask("getattr", of, name)
    except AttributeError:
        return False
    return True
"""
    tests = [f"assert not reached({kind!r})" for kind in ("module", "text", "class")]
    assert passed(program, *tests) == [0, 1, 2]


def test_what_tests_do_with_a_program():
    """Across two processes as in one: in place, by callback, with objects, exceptions and generators."""
    program = """
import datetime, math
from collections import namedtuple
class Empty(LookupError): pass
class Stack:
    def __init__(self, *items): self.items = list(items)
    def push(self, item): self.items.append(item); return self
    def pop(self):
        if not self.items: raise Empty('nothing is left')
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __add__(self, other): return Stack(*self.items, *other.items)
    def __eq__(self, other): return isinstance(other, Stack) and other.items == self.items
    def __contains__(self, item): return item in self.items
class Vector:
    def __init__(self, x, y): self.x, self.y = x, y
    def __add__(self, other): return Vector(self.x + other.x, self.y + other.y)
    def __mul__(self, by): return self.dot(by) if isinstance(by, Vector) else Vector(self.x * by, self.y * by)
    def dot(self, other): return self.x * other.x + self.y * other.y
    __rmul__ = __mul__
    def __neg__(self): return self * -1
    def __abs__(self): return math.hypot(self.x, self.y)
    def __bool__(self): return bool(self.x or self.y)
    def __eq__(self, other): return (self.x, self.y) == (other.x, other.y)
    def __str__(self): return f'({self.x}, {self.y})'
class Row(list): pass
Point = namedtuple('Point', 'x y')
KEPT = [1]
def double(x): return x * 2
def sort(x): x.sort()
def keep(x): KEPT.append(x)
def apply(f, *args, **named): return f(*args, **named)
def count(n): yield from range(n)
def refuse(x): raise ValueError(f'not {x}')
def many(): return (1, [2, {3}], {'a': None}, b'x', 1 + 2j, float('inf'), 10 ** 5000, 'ü', True, frozenset([1]))
def tomorrow(day): return day + datetime.timedelta(1)
"""
    tests = [
        "assert double(2) == 4 and double('a') == 'aa' and sum(map(double, [1, 2])) == 6",
        "x = [3, 1]; sort(x); assert x == [1, 3]",
        "assert apply(lambda a, b=1: a + b, 2, b=5) == 7 and apply(sorted, [2, 1]) == [1, 2]",
        "assert list(count(3)) == [0, 1, 2] and next(count(1)) == 0",
        "s = Stack(); assert not s and s.push(1).push(2).pop() == 2 and len(s) == 1 and 1 in s",
        "assert Stack(1) + Stack(2) == Stack(1, 2) != Stack(3) and isinstance(s, Stack) and not isinstance(3, Stack)",
        "try: Stack().pop(); assert False\nexcept Empty as error: assert 'nothing is left' in str(error)",
        "try: refuse(3); assert False\nexcept ValueError as error: assert str(error) == 'not 3'",
        "assert many() == (1, [2, {3}], {'a': None}, b'x', 1+2j, float('inf'), 10**5000, 'ü', True, frozenset([1]))",
        "import datetime; assert tomorrow(datetime.date(2024, 2, 28)) == datetime.date(2024, 2, 29)",
        "assert Row([1, 2]) == [1, 2] and Point(1, 2) == (1, 2) and Point(1, 2).x == 1 and math.sqrt(4) == 2",
        "assert KEPT == [1]; keep(2); assert KEPT == [1, 2]",
        "v = Vector(3, 4); assert abs(v) == 5 and v and not Vector(0, 0) and v * v == 25 and -v == Vector(-3, -4)",
        "assert v * 2 == 2 * v == Vector(6, 8) and (v * 2).x == 6 and str(v * 2) == '(6, 8)'",
        "assert sum([v, v], Vector(0, 0)) == v * 2 and Row([1]) + [2] == [1, 2] and Point(1, 2) + (3,) == (1, 2, 3)",
        "def helper(x): return double(x) + 1\nassert [helper(n) for n in range(3)] == [1, 3, 5]",
    ]
    assert passed(program, *tests) == list(range(len(tests)))
    assert passed(program, "assert double(2) == 5", "refuse(1)", "assert Row([1]) == [2]", "nothing()", "x = (") == []


def test_other_processes_are_out_of_reach():
    program = (
        "import ctypes, os\nlibc = ctypes.CDLL(None)\n"
        "def refused(name, *arguments):\n    try: getattr(os, name)(*arguments); return False\n"
        "    except OSError: return True\n"
        "def judge(): return os.getppid()\n"
        "def reads(path):\n    try: open(path, 'rb').read(1); return True\n    except OSError: return False"
    )
    assert passed(
        program,
        "assert refused('kill', judge(), 9)",
        "assert refused('setsid')",
        "assert libc.unshare(0x10000000) == -1 and libc.ptrace(0, 0, 0, 0) == -1",
        "assert refused('setpgid', 0, 0)",
        "import fcntl, os\nassert libc.fcntl(os.pipe()[0], fcntl.F_SETOWN, judge()) == -1",
        "assert not any(reads(f'/proc/{judge()}/{what}') for what in ('mem', 'fd/0', 'environ', 'maps'))",
    ) == [0, 1, 2, 3, 4, 5]


@pytest.fixture
def shared_user(monkeypatch):
    """As for a worker that is not root: no user and no file system of the program's own."""
    monkeypatch.setattr(sandbox, "_interpreter", lambda: (sys.executable, False))


def test_root_without_another_user_to_become_is_no_root_inside(shared_user):
    outcome = run_tests(
        "import ctypes\nlibc = ctypes.CDLL(None)\ndef fsopen(): return libc.syscall(430, b'tmpfs', 0)",
        ["assert fsopen() == -1"],
        Limits(seconds=60),
    )
    if "files" not in outcome.layers:
        pytest.skip("this kernel has no Landlock")
    assert outcome.passed == {0}


LITTER = """
import os
os.makedirs('a/b/c')
open('a/b/c/x', 'w').write('x')
os.symlink('/', 'root')
os.mkdir('closed', 0)
os.mkdir('a/closed', 0)
try:
    for _ in range(900):
        os.mkdir('d')
        os.chdir('d')
except OSError:
    pass
"""


def test_nothing_is_left_behind(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    tmp_path.parent.chmod(0o711)
    passed("open('x', 'w').write('x')", "assert True")
    assert passed(LITTER, "assert True") == [0]
    assert not list(tmp_path.iterdir())


def test_nothing_is_left_behind_of_one_that_shares_its_user(shared_user, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if "files" not in run_tests("", [], Limits(seconds=60)).layers:
        pytest.skip("this kernel has no Landlock")
    assert passed(LITTER, "assert True", limits=Limits(seconds=60)) == [0]
    assert not list(tmp_path.iterdir())


def test_folders_deeper_than_a_path_and_closed_ones_are_removed(readable):
    """By a user who may not look into what the program has closed."""
    shutil.copy(ROOT / "training/rewards/folders.py", readable)
    outside = readable / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    own = readable / "own"
    own.mkdir()
    script = (
        "import os, sys\nsys.path.insert(0, '.')\nimport folders\nos.makedirs('own/f/g')\nos.chdir('own/f')\n"
        "os.symlink('../../outside', 'link')\nos.symlink('../../outside', 'g/link')\n"
        "for _ in range(1200):\n    os.mkdir('deep')\n    open('file', 'w').close()\n    os.chdir('deep')\n"
        f"os.mkdir('closed', 0)\nos.chdir({str(readable)!r})\nos.chmod('own/f/g', 0)\nos.chmod('own/f/deep', 0o500)\n"
        "assert folders.holds_more('own', 1 << 30, 10) and folders.holds_more('own', 1 << 30, 1 << 20)\n"
        "os.chmod('own/f', 0)\nfolders.remove('own/f')\nassert not os.listdir('own')\n"
        "open('own/x', 'w').write('x' * 5000)\n"
        "assert folders.holds_more('own', 4096, 10) and not folders.holds_more('own', 1 << 20, 10)"
    )
    user = {}
    if os.getuid() == 0:
        os.chown(own, 65534, 65534)
        user = {"user": 65534, "group": 65534, "extra_groups": []}
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    done = subprocess.run([python, "-c", script], cwd=readable, capture_output=True, text=True, **user)
    assert done.returncode == 0, done.stderr
    assert (outside / "kept").read_text() == "x"


WRITER = """
number = 0
try:
    while True:
        open(str(number), 'wb').write(bytes({size}))
        number += 1
"""


def test_what_a_program_writes_is_bounded_in_all():
    """By its own file system, where it has one: it meets the end of it, and goes on."""
    if "folder" not in run_tests("", [], Limits(seconds=60)).layers:
        pytest.skip("only root has a file system to give")
    many, large = (WRITER.format(size=size) + "except OSError: pass" for size in (0, 1 << 20))
    assert passed(many, "assert 500 < number < 1024", limits=Limits(seconds=60)) == [0]
    assert passed(large, "assert 10 < number <= 16", limits=Limits(seconds=60)) == [0]


@pytest.mark.parametrize("size", [0, 1 << 20])
def test_one_that_shares_the_disk_is_ended_when_it_has_written_too_much(size, shared_user):
    outcome = run_tests(WRITER.format(size=size) + "finally: pass", ["assert True"], Limits(seconds=120))
    if "files" not in outcome.layers:
        pytest.skip("this kernel has no Landlock")
    assert not outcome.passed and not outcome.timed_out


@pytest.fixture
def readable():
    """A folder that every user may read."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.mark.skipif(os.getuid() != 0, reason="the other tests run without root's rights already")
def test_it_holds_without_roots_rights_too(readable):
    """Where the worker is a user like any other: no user of its own to become, but the filter and Landlock hold."""
    interpreter = "/usr/bin/python3"
    if not Path(interpreter).exists():
        pytest.skip("there is no Python that every user may run")
    for name in ("sandbox_child.py", "sandbox_calls.py"):
        shutil.copy(ROOT / "training/rewards" / name, readable)
    job = {
        "program": "import os, socket\ndef refused(call, *arguments):\n    try: call(*arguments); return False\n"
        "    except OSError: return True\ndef tried():\n    return refused(socket.socket), "
        "refused(os.kill, os.getppid(), 0), os.getuid()",
        "report": 1, "uid": None, "seconds": 5, "memory": 1 << 29, "file_size": 1 << 20, "processes": 8, "running": 50,
        "folder_size": 1 << 24, "folder_files": 1024,
    }  # fmt: skip
    others = readable / "others"
    others.write_text("x")
    os.chown(others, 65534, 65534)
    job["program"] += (
        "\ndef touched(path):\n    return [refused(call, path, *given) for call, *given in ("
        "(os.chmod, 0o777), (os.utime,), (os.chown, -1, -1), (os.truncate, 0), (os.setxattr, 'user.x', b'x'))]"
    )
    tests = ["assert tried() == (True, True, 65534)", f"assert touched({str(others)!r}) == [True] * 5"]
    questions = {"tests": tests, "secret": "s", "report": 1}
    done = subprocess.run(
        [interpreter, "-I", "-S", "-B", str(readable / "sandbox_child.py")],
        input=sandbox._message(job) + sandbox._message(questions), capture_output=True,
        user=65534, group=65534, extra_groups=[], cwd=readable,
    )  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert "user" not in lines[0]["ready"] and [line["passed"] for line in lines[1:]] == [0, 1], done.stderr
    assert others.stat().st_mode & 0o777 == 0o644 and others.read_text() == "x"


def test_where_nothing_keeps_a_program_from_files_it_is_not_run(monkeypatch, readable):
    """As on a kernel without Landlock, for a worker that is not root."""
    shutil.copy(ROOT / "training/rewards/sandbox_calls.py", readable)
    child = readable / "child.py"
    text = (ROOT / "training/rewards/sandbox_child.py").read_text()
    child.write_text(text.replace("version = _libc.syscall(444, None, 0, 1)", "version = -1"))
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
    source = CodeTestsSource(spec.CodeTests(timeout=60), log)
    assert source.score([ask] * 3, [good, half, "I cannot."]) == pytest.approx([1, 2 / 3, 0])
    assert CodeTestsSource(spec.CodeTests(all=True), log).score([ask] * 2, [good, half]) == [1, 0]
    assert isinstance(source.score([Prompt(ask.messages)], [good])[0], Failure)
    assert "programs run with no sockets and signals" in log.path.read_text()
