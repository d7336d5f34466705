"""Tests of a prompt's row as statements of Python: what is wrong with one, seen before any program meets it."""

import ast
import sys
import warnings

_TRUTHS = (ast.Compare, ast.BoolOp, ast.Constant)


def wrong_in(statement: str) -> str | None:
    """What should be there instead, where it is no Python, drops what it compares, or imports more than Python has."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(statement, "<test>", "exec", dont_inherit=True)
            body = ast.parse(statement).body
    except SyntaxError as error:
        return f"Python, and this is none: {error.msg} in line {error.lineno or 1}"
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return f"Python, and this is none that can be read: {type(error).__name__}"
    if body and all(isinstance(node, ast.Expr) and isinstance(node.value, _TRUTHS) for node in body):
        return 'a statement that can fail, such as "assert double(2) == 4": the result of this one is dropped'
    for name in _imported(body):
        if name not in sys.stdlib_module_names:
            return f"a test that imports from the standard library only, and this one imports {name}"
    return None


def _imported(body: list[ast.stmt]) -> list[str]:
    """Top-level packages of the imports that are not within another statement, which may catch what they raise."""
    names = [alias.name for node in body if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in body if isinstance(node, ast.ImportFrom)]
    return [name.partition(".")[0] for name in names]
