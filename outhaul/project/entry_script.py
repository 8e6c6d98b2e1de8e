"""Checks of entry and score scripts by their syntax tree: nothing is imported or run. Pure."""

from __future__ import annotations

import ast
import keyword
import sys
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from outhaul.environment.python_version import Version
from outhaul.problems import Problem

Definition = ast.FunctionDef | ast.AsyncFunctionDef
KEEPS_SIGNATURE = frozenset({"input_schema", "output_schema", "rawhttp"})
"""v1's decorators, which look through to the decorated function's own arguments."""

RUN_EXAMPLE = "def run(data):"
INIT_EXAMPLE = "def init():"


def check_training_script(path: str, source: bytes, python: Version | None = None) -> list[Problem]:
    """Problems of the entry script `path`. `python` is the environment's version, where the project names one."""
    return _named_py(path, "train.script") or _parse(path, source, python)[1]


def check_score_script(path: str, source: bytes, python: Version | None = None) -> list[Problem]:
    """Problems of the score script `path`: name, syntax, `init()` and `run()` as v1 wants them."""
    problems = _named_py(path, "score.script") or _importable(path)
    tree, wrong = _parse(path, source, python)
    if tree is None or wrong:
        return problems + wrong
    lines = source.decode("utf-8", "replace").splitlines()
    return problems + list(_functions(path, tree, lines))


def _named_py(path: str, key: str) -> list[Problem]:
    if path.endswith(".py"):
        return []
    return [
        Problem(
            "not-python",
            f"{path} is no Python file",
            found=path,
            expected="a file name that ends in .py",
            remedy=f"name the Python file in `{key}`; it may start whatever else is to run",
        )
    ]


def _importable(path: str) -> list[Problem]:
    name = PurePosixPath(path).stem
    if name.isidentifier() and not keyword.iskeyword(name):
        return []
    return [
        Problem(
            "score-script-name",
            f"{path} cannot be imported by its name",
            found=PurePosixPath(path).name,
            expected="letters, digits and `_`, no digit first, and no word of Python's own",
            remedy="rename the file, for example `score.py`",
        )
    ]


def _parse(path: str, source: bytes, python: Version | None) -> tuple[ast.Module | None, list[Problem]]:
    try:
        return ast.parse(source, filename=path), []
    except SyntaxError as error:
        # A script for a newer Python than ours may use syntax that only the newer one knows.
        newer = python is not None and python > sys.version_info[:2]
        return None, [] if newer else [_syntax_error(path, source, error)]
    except (ValueError, RecursionError, MemoryError) as error:
        return None, [
            Problem(
                "syntax-error",
                f"{path} is not Python: {error or type(error).__name__}",
                found=path,
                expected="Python source text",
                remedy="save the file again as text",
            )
        ]


def _syntax_error(path: str, source: bytes, error: SyntaxError) -> Problem:
    number = error.lineno or 1
    lines = source.decode("utf-8", "replace").splitlines()
    line = error.text or (lines[number - 1] if number <= len(lines) else "")
    shown = line.rstrip("\n")
    column = max((error.offset or 1) - 1, 0)
    pointer = "".join("\t" if char == "\t" else " " for char in shown[:column]).ljust(column) + "^"
    return Problem(
        "syntax-error",
        f"{path} has a syntax error: {error.msg}",
        found=f"{path}:{number}\n{shown}\n{pointer}" if shown.strip() else f"{path}:{number}",
        expected="a script that Python can read",
        remedy=f"correct line {number}; `python -m py_compile {path}` checks it",
    )


def _functions(path: str, tree: ast.Module, lines: Sequence[str]) -> Iterator[Problem]:
    names, definitions = set[str](), dict[str, Definition]()
    for statement in _top_level(tree.body):
        names |= _bound(statement)
        if isinstance(statement, Definition):
            definitions[statement.name] = statement
    for name, example in (("init", INIT_EXAMPLE), ("run", RUN_EXAMPLE)):
        if name not in names and "*" not in names:
            yield _absent(path, name, example, names)
    if "init" in definitions:
        yield from _init_arguments(path, definitions["init"], lines)
    if "run" in definitions:
        yield from _run_arguments(path, definitions["run"], lines)


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that bind names of the module, those inside `if`, `try` and `with` included."""
    for statement in body:
        yield statement
        for field in ("body", "orelse", "finalbody", "handlers", "cases"):
            if not isinstance(statement, Definition | ast.ClassDef):
                for child in getattr(statement, field, []):
                    yield from _top_level(
                        child.body if hasattr(child, "body") and not isinstance(child, ast.stmt) else [child]
                    )


def _bound(statement: ast.stmt) -> set[str]:
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return {name}
        case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
            return {alias.asname or alias.name for alias in aliases}
        case ast.Assign() | ast.AnnAssign():
            return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name) and _stored(node)}
    return set()


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _absent(path: str, name: str, example: str, names: set[str]) -> Problem:
    public = sorted(each for each in names if not each.startswith("_"))
    return Problem(
        f"score-script-no-{name}",
        f"{path} has no {name}()",
        found=f"at its top level: {', '.join(public[:12])}{', …' if len(public) > 12 else ''}" if public else "nothing",
        expected=f"`{example}` at the top level",
        remedy=f"add `{example}`; " + ("it loads the model once" if name == "init" else "it answers one request"),
    )


def _init_arguments(path: str, init: Definition, lines: Sequence[str]) -> Iterator[Problem]:
    required = len(init.args.posonlyargs) + len(init.args.args) - len(init.args.defaults)
    required += sum(default is None for default in init.args.kw_defaults)
    if required and not init.decorator_list:
        yield _signature("init", path, init, lines, "init() without arguments", INIT_EXAMPLE)


def _run_arguments(path: str, run: Definition, lines: Sequence[str]) -> Iterator[Problem]:
    if not all(_decorator(node) in KEEPS_SIGNATURE for node in run.decorator_list):
        return
    args = run.args
    unfit = [f"positional-only `{arg.arg}`" for arg in args.posonlyargs]
    unfit += [f"`{stars}{arg.arg}`" for stars, arg in (("*", args.vararg), ("**", args.kwarg)) if arg is not None]
    data = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs) if arg.arg != "request_headers"]
    if unfit:
        yield _signature("run", path, run, lines, f"run() without {' and '.join(unfit)}", RUN_EXAMPLE)
    elif not data:
        yield _signature("run", path, run, lines, "run() with at least one argument for the data", RUN_EXAMPLE)


def _decorator(node: ast.expr) -> str:
    called = node.func if isinstance(node, ast.Call) else node
    return called.attr if isinstance(called, ast.Attribute) else called.id if isinstance(called, ast.Name) else ""


def _signature(name: str, path: str, node: Definition, lines: Sequence[str], expected: str, example: str) -> Problem:
    shown = lines[node.lineno - 1].strip() if node.lineno <= len(lines) else ""
    return Problem(
        f"score-script-{name}-arguments",
        f"{name}() in {path} cannot be called",
        found=f"{path}:{node.lineno}: {shown}",
        expected=expected,
        remedy=f"write `{example}`",
    )
