"""Calls between two processes that do not trust each other: tests on one side, the program that they test on the other.

Plain values cross as copies, rebuilt from the types that are named here and from no others, so nothing that a program
returns can call itself equal to what a test expects. Everything else (instances, functions, generators) stays where it
is and is used from afar by a `Remote`. Only stdlib: this runs inside the sandbox.
"""

import builtins
import collections
import datetime
import decimal
import fractions
import importlib
import json
import operator
import os
import sys
import types

_COPIED = {
    "list": list, "tuple": tuple, "set": set, "frozenset": frozenset, "bytes": bytes, "bytearray": bytearray,
    "complex": complex, "dict": dict,
}  # fmt: skip
_REBUILT = {
    kind.__name__: kind
    for kind in (
        datetime.date, datetime.datetime, datetime.time, datetime.timedelta, decimal.Decimal, fractions.Fraction
    )
}  # fmt: skip
_AS_DICT = (collections.Counter, collections.OrderedDict, collections.defaultdict)
_MUTABLE = (list, dict, set, bytearray)
_PLAIN = (int, float, str, list, tuple, dict, set, frozenset, bytes)
_COMPARED = ("eq", "ne", "lt", "le", "gt", "ge")
_COMPUTED = (
    "add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and", "or", "xor", "lshift", "rshift"
)  # fmt: skip
_ONE = ("neg", "pos", "abs", "invert")
_OPERATIONS = {
    **{name: getattr(operator, f"__{name}__") for name in (*_COMPARED, *_COMPUTED, *_ONE)},
    **{name: getattr(operator, name) for name in ("getitem", "setitem", "delitem", "contains")},
    **{f.__name__: f for f in (getattr, setattr, delattr, iter, next, len, str, repr, bool, hash, isinstance)},
    "copy": lambda value: _copied(value),
    "call": lambda function, *args, **named: function(*args, **named),
}
_GUARDED = ("name", "setattr", "delattr")
_INSIDES = ("_", "gi_", "cr_", "ag_", "f_", "tb_", "co_", "func_")


class Peer:
    """One side's end. `names` is what the other side may look up; the tests' side has none and is `guarded`."""

    def __init__(self, reading: int, writing: int, names: dict | None = None):
        self.reading, self.writing, self.names = reading, writing, names
        self.guarded = names is None
        self.kept: list = []  # what the other side holds a Remote of
        self.raised: dict[str, type] = {}  # the other side's exception classes, and what stands for them here

    # --- messages -----------------------------------------------------------------------------------------------------

    def send(self, message) -> None:
        data = json.dumps(message).encode()
        data = len(data).to_bytes(8, "big") + data
        while data:
            data = data[os.write(self.writing, data) :]

    def receive(self):
        """Raises EOFError where the other side has ended."""
        return json.loads(exactly(self.reading, int.from_bytes(exactly(self.reading, 8), "big")))

    def ask(self, operation: str, *args, **named):
        """The operation's result on the other side, or its exception. Answers what is asked meanwhile."""
        named = {key: self.packed(value) for key, value in named.items()}
        self.send({"do": operation, "args": [self.packed(value) for value in args], "named": named})
        while "do" in (answer := self.receive()):
            self.answer(answer)
        if operation == "call":
            for mine, theirs in zip(args, answer.get("args", ()), strict=False):
                _renew(mine, self.unpacked(theirs) if theirs is not None else None)
        if "raised" in answer:
            error = self.exception(answer["raised"])
            if isinstance(error, StopIteration) and operation != "next":
                # It would end a `map` or `for` of the test before its time, which then has nothing to complain of.
                raise RuntimeError("a call raised StopIteration")
            raise error
        return self.unpacked(answer["value"])

    def answer(self, question: dict) -> None:
        args = []
        try:
            if self.guarded and not _permitted(question["do"], question["args"]):
                raise AttributeError("this belongs to the tests")
            args = [self.unpacked(value) for value in question["args"]]
            named = {key: self.unpacked(value) for key, value in question["named"].items()}
            answer = {"value": self.packed(self.perform(question["do"], *args, **named))}
        except BaseException as error:
            answer = {"raised": self.described(error)}
        if question["do"] == "call":  # an argument that was changed in place is changed where it came from
            answer["args"] = [self.packed(value) if type(value) in _MUTABLE else None for value in args]
        self.send(answer)

    def perform(self, operation: str, *args, **named):
        if operation == "name":
            return self.names[args[0]]
        return _OPERATIONS[operation](*args, **named)

    def serve(self) -> None:
        """Answers until the other side ends."""
        while True:
            self.answer(self.receive())

    # --- values -------------------------------------------------------------------------------------------------------

    def packed(self, value):
        kind = type(value)
        if value is None or kind in (bool, float, str):
            return value
        if isinstance(value, int):  # an enumeration's too
            return {"int": hex(value)}
        if isinstance(value, (float, str)):
            return float(value) if isinstance(value, float) else str.__str__(value)
        if kind in _AS_DICT:
            kind = dict
        if kind is dict:
            return {"dict": [[self.packed(key), self.packed(one)] for key, one in value.items()]}
        if kind in (bytes, bytearray):
            return {kind.__name__: value.hex()}
        if kind is complex:
            return {"complex": [value.real, value.imag]}
        if kind in _COPIED.values():
            return {kind.__name__: [self.packed(one) for one in value]}
        if kind is _REBUILT.get(kind.__name__):
            return {"rebuilt": [kind.__name__, [self.packed(one) for one in value.__reduce__()[1]]]}
        if kind is Remote and value._peer is self:
            return {"yours": value._number}
        if isinstance(value, types.ModuleType):
            return {"module": value.__name__}
        if isinstance(value, type) and issubclass(value, BaseException):
            return {"exception": self.class_described(value)}
        self.kept.append(value)
        return {"mine": len(self.kept) - 1}

    def unpacked(self, value):
        if not isinstance(value, dict):
            return value
        ((kind, held),) = value.items()
        if kind == "int":
            return int(held, 16)
        if kind == "dict":
            return {self.unpacked(key): self.unpacked(one) for key, one in held}
        if kind in ("bytes", "bytearray"):
            return _COPIED[kind].fromhex(held)
        if kind == "complex":
            return complex(*held)
        if kind in _COPIED:
            return _COPIED[kind](self.unpacked(one) for one in held)
        if kind == "rebuilt":
            return _REBUILT[held[0]](*[self.unpacked(one) for one in held[1]])
        if kind == "yours":
            return self.kept[held]
        if kind == "mine":
            return Remote(self, held)
        if kind == "module" and held.partition(".")[0] in sys.stdlib_module_names:
            return importlib.import_module(held)  # a copy that the other side has not changed
        if kind == "exception":
            return self.stand_in(held)
        raise ValueError(f"no value of the kind {kind}")

    # --- exceptions ---------------------------------------------------------------------------------------------------

    def class_described(self, kind: type) -> dict:
        builtin = next(base.__name__ for base in kind.__mro__ if getattr(builtins, base.__name__, None) is base)
        return {"name": kind.__name__, "own": builtin != kind.__name__, "builtin": builtin}

    def described(self, error: BaseException) -> dict:
        try:
            text = str(error)
        except BaseException:
            text = ""
        return {**self.class_described(type(error)), "text": text}

    def stand_in(self, described: dict) -> type:
        """The built-in exception, or a class below it for one of the other side's own."""
        base = getattr(builtins, described["builtin"])
        if not (isinstance(base, type) and issubclass(base, BaseException)):
            raise ValueError("no exception")
        if not described["own"]:
            return base
        return self.raised.setdefault(described["name"], type(described["name"], (base,), {}))

    def exception(self, described: dict) -> BaseException:
        try:
            return self.stand_in(described)(described["text"])
        except TypeError:  # one that takes other arguments, such as UnicodeDecodeError
            return ValueError(described["text"])


class Remote:
    """An object of the other side. What is done to it is done there.

    A test asks `abs(f(1) - 42) < 1e-6` of a number. An object that answered such a question itself would be told the
    42 and could say 0.0. So on the tests' side what an object makes of a plain value is an object again, which has
    `_met` that value, and one that has turns into no plain value by arithmetic, and is neither true nor false.
    """

    def __init__(self, peer: Peer, number: int):
        object.__setattr__(self, "_peer", peer)
        object.__setattr__(self, "_number", number)
        object.__setattr__(self, "_met", False)

    def __call__(self, *args, **named):
        return self._peer.ask("call", self, *args, **named)

    def __getattr__(self, name):
        return self._peer.ask("getattr", self, name)

    def __setattr__(self, name, value):
        self._peer.ask("setattr", self, name, value)

    def __bool__(self):
        if self._met:
            raise TypeError("an object that a test has computed with is neither true nor false")
        return self._peer.ask("bool", self)

    def __iter__(self):
        iterator = self._peer.ask("iter", self)
        return iterator if isinstance(iterator, Remote) else iter(iterator)

    def __instancecheck__(self, instance):
        return isinstance(instance, Remote) and self._peer.ask("isinstance", instance, self) is True

    def __enter__(self):
        return self._peer.ask("getattr", self, "__enter__")()

    def __exit__(self, *_):
        return self._peer.ask("getattr", self, "__exit__")(None, None, None)


def _forwarded(operation: str):
    def method(self, *args):
        return self._peer.ask(operation, self, *args)

    return method


def _computed(operation: str, *, turned: bool = False):
    def method(self, *args):
        operands = (*args, self) if turned else (self, *args)
        result = self._peer.ask(operation, *operands)
        others = [value for value in operands if value is not self]
        met = self._met or any(not isinstance(value, Remote) or value._met for value in others)
        if not (met and self._peer.guarded):
            return result
        if isinstance(result, Remote):
            object.__setattr__(result, "_met", True)
            return result
        held = [] if self._met else self._peer.ask("copy", self)
        if held and type(held[0]) in _PLAIN and not any(isinstance(value, Remote) for value in others):
            return _OPERATIONS[operation](*[held[0] if value is self else value for value in operands])
        raise TypeError("an object that computes with a test's values gives no plain value")

    return method


def _compared(operation: str):
    def method(self, other):
        if isinstance(other, Remote):
            return self._peer.ask(operation, self, other)
        held = self._peer.ask("copy", self)
        # A plain value is compared with the plain value that the object holds, whatever it says of itself.
        return _OPERATIONS[operation](held[0], other) if held and type(held[0]) in _PLAIN else NotImplemented

    return method


for _name in _COMPARED:
    setattr(Remote, f"__{_name}__", _compared(_name))
for _name in ("next", "len", "str", "repr", "hash", "getitem", "setitem", "delitem", "contains"):
    setattr(Remote, f"__{_name}__", _forwarded(_name))
for _name in (*_ONE, *_COMPUTED):
    setattr(Remote, f"__{_name}__", _computed(_name))
for _name in _COMPUTED:
    setattr(Remote, f"__r{_name}__", _computed(_name, turned=True))


class Names(dict):
    """A test's names: its own, Python's, and the program's. What Python calls `abs` or `all` stays Python's."""

    def __init__(self, peer: Peer):
        super().__init__(__name__="__main__")
        self.peer = peer

    def __missing__(self, name):
        if hasattr(builtins, name):
            raise KeyError(name)
        return self.peer.ask("name", name)


def _permitted(operation: str, args: list) -> bool:
    """Whether a program may ask this of its tests, `args` still packed: nothing that leads into their process.

    A program has its own modules and plain values. Those that it sends would be the tests': their `eval` and `format`.
    """
    if operation in ("getattr", "call") and not (isinstance(args[0], dict) and "yours" in args[0]):
        return False
    return operation not in _GUARDED and not (operation == "getattr" and args[1].startswith(_INSIDES))


def exactly(reading: int, count: int) -> bytes:
    """So many bytes of the file descriptor and none beyond. Raises EOFError where it ends before."""
    data = bytearray()
    while len(data) < count:
        part = os.read(reading, min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)


def _copied(value) -> list:
    """[the plain value that an instance of a subclass of it holds], or [] where it holds none."""
    return next(([kind(value)] for kind in _PLAIN if isinstance(value, kind)), [])


def _renew(mine, new) -> None:
    if type(mine) in _MUTABLE and type(new) is type(mine):
        if type(mine) in (list, bytearray):
            mine[:] = new
        else:
            mine.clear()
            mine.update(new)
