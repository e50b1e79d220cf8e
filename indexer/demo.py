"""What can somebody search who has brought no documents yet?

The documentation of the Python standard library: `python -m indexer.demo OUT.jsonl` writes every public module, class,
function and method of the running interpreter that has a docstring, one JSON object a line, sorted by id. The same
interpreter writes the same bytes every time. Modules named after OUT.jsonl are the only ones that are written, and one
of which nothing is documented is an error.

Public means that no component of the name begins with an underscore. Properties count as methods. What a class inherits
from another public class is not repeated; what comes from a private one counts as its own. An object that is known
under several names appears once, under its home: the module and name that it claims for itself where they lead to it,
and otherwise the public module that stands for a private one (`io` for `_io`, `os` for `posix`, nothing at all for
`builtins`). A module that cannot be imported is passed over.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import json
import os
import pkgutil
import re
import subprocess
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer import storage
from indexer.errors import SourceError
from indexer.items import Item, Value

TIME_LIMIT = 300
"""Seconds after which writing the corpus is given up; it takes a few."""

QUICK = (
    *("builtins", "collections", "difflib", "heapq", "html", "itertools", "json", "math", "pathlib", "random", "re"),
    *("secrets", "shutil", "statistics", "string", "subprocess", "tempfile", "textwrap"),
)
"""What a quick look is had of: a tenth of the whole, and what people ask most."""

_LEFT_OUT = frozenset(
    (
        *("test", "tests", "idlelib", "lib2to3", "turtledemo", "pydoc_data", "antigravity", "this"),
        *("nt", "ntpath", "posix", "distutils"),
    )
)
"""Tests, applications and jokes; what `os` and `os.path` stand for; and distutils, which setuptools replaces."""

_STANDS_FOR = {"posix": "os", "nt": "os", "genericpath": "os.path", os.path.__name__: "os.path"}
_PROPERTIES = (property, functools.cached_property, types.GetSetDescriptorType, types.MemberDescriptorType)
_ADDRESS = re.compile(r" at 0x[0-9A-Fa-f]+")
_LONGEST_DEFAULT = 40


@dataclass(frozen=True, slots=True)
class _Sighting:
    """An object under one of its names at the top of a module."""

    module: str
    name: str
    value: Any
    exported: bool
    """Whether the module's `__all__` lists it."""

    @property
    def id(self) -> str:
        return self.name if self.module == "builtins" else f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class _Default:
    """A parameter's default, shown as `...` where its own repr is long, or tells of this run or this machine."""

    value: object

    def __repr__(self) -> str:
        shown = repr(self.value)
        told = "<" in shown or sys.prefix in shown or sys.base_prefix in shown
        return "..." if told or len(shown) > _LONGEST_DEFAULT else shown


def write_corpus(path: Path, modules: Sequence[str] = ()) -> int:
    """Write the corpus to `path`, whole or not at all, and return its number of items; of those modules, or of all.

    Another process imports the standard library, without a screen, a browser or a keyboard; ours stays as it is.
    Raises SourceError where that process fails.
    """
    path = path.absolute()
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.touch()
        _run_apart(unfinished, modules)
        with unfinished.open("rb") as lines:
            count = sum(1 for _ in lines)
        storage.replace_file(unfinished, path)
    except (OSError, subprocess.SubprocessError) as error:
        raise SourceError(f"The demo corpus could not be written to {path}: {_reason(error)}") from error
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return count


def _run_apart(path: Path, modules: Sequence[str]) -> None:
    screens = {"BROWSER", "DISPLAY", "WAYLAND_DISPLAY"}
    subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-m", "indexer.demo", str(path), *modules],
        cwd=Path(__file__).parent.parent,
        env={k: v for k, v in os.environ.items() if k not in screens} | {"PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=True,
        timeout=TIME_LIMIT,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        last = str(error.stderr).strip().rpartition("\n")[2]
        return f"`python -m indexer.demo` ended with {error.returncode}; run it by hand to see why. {last}".rstrip()
    return f"{error}."


def main(arguments: list[str]) -> int:
    """Write the corpus in this process; what it costs is that the whole standard library is imported."""
    if not arguments:
        sys.stderr.write("Say where the corpus goes: python -m indexer.demo OUT.jsonl [MODULE]...\n")
        return 2
    warnings.simplefilter("ignore")  # old modules say that they are old
    names, failed = [], 0
    for name in _module_names():
        try:
            importlib.import_module(name)
            names.append(name)
        except (Exception, SystemExit):
            failed += 1
    wanted = arguments[1:]
    items = {item.id: item for item in collect(names) if not wanted or item.metadata["module"] in wanted}
    if nothing := sorted({*wanted} - {item.metadata["module"] for item in items.values()}):
        sys.stderr.write(f"Nothing is documented in {', '.join(nothing)}: name public modules, as os.path is one.\n")
        return 2
    with Path(arguments[0]).open("w", encoding="utf-8", newline="\n") as out:
        out.writelines(_line(items[name]) for name in sorted(items))
    sys.stderr.write(f"{len(items)} items; {failed} modules could not be imported.\n")
    return 0


def _line(item: Item) -> str:
    return json.dumps({"id": item.id, "text": item.text, **item.metadata}, ensure_ascii=False) + "\n"


def _module_names() -> Iterator[str]:
    for name in sorted(sys.stdlib_module_names):
        if _is_public(name):
            yield name
            yield from _submodule_names(name)


def _submodule_names(package: str) -> Iterator[str]:
    try:  # finding the submodules takes the package itself; one that cannot be imported is counted by its own name
        folders = getattr(importlib.import_module(package), "__path__", [])
    except (Exception, SystemExit):
        return
    for found in sorted(pkgutil.iter_modules(folders), key=lambda found: found.name):
        if _is_public(found.name):
            name = f"{package}.{found.name}"
            yield name
            if found.ispkg:
                yield from _submodule_names(name)


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _LEFT_OUT


def collect(modules: list[str]) -> Iterator[Item]:
    """The items that document imported modules and what is in them, in no particular order."""
    sightings: dict[int, list[_Sighting]] = {}
    for name in modules:
        module, public = sys.modules[name], _public_module(name)
        yield from _described(public, "", module, public, "module")
        for seen in _sightings(module, public):
            sightings.setdefault(id(_function(seen.value)), []).append(seen)
    taken = set(sightings)
    for names in sightings.values():
        home = min(names, key=_distance_from_home)
        if isinstance(home.value, type):
            yield from _class(home.id, home.module, home.value, taken)
        else:
            yield from _described(home.id, _signature(home.value), home.value, home.module, "function")


def _public_module(name: str) -> str:
    """The public module that stands for a module: `io` for `_io`, `pathlib` for `pathlib._local`."""
    return _STANDS_FOR.get(name, name).lstrip("_").partition("._")[0]


def _sightings(module: types.ModuleType, public: str) -> Iterator[_Sighting]:
    exported = frozenset(getattr(module, "__all__", ()))
    for name, value in vars(module).items():
        if not name.startswith("_") and (isinstance(value, type) or inspect.isroutine(value)):
            yield _Sighting(public, name, value, name in exported)


def _function(value: object) -> object:
    """What a name stands for: `random.choice` and `secrets.choice` are one method of two hidden generators."""
    return value.__func__ if isinstance(value, types.MethodType | classmethod | staticmethod) else value


def _distance_from_home(seen: _Sighting) -> tuple[bool, bool, bool, bool, int]:
    # Of equals the first is taken, and a module lists its names in the order in which they were made.
    claimed = _public_module(getattr(seen.value, "__module__", None) or "")
    other_name = seen.name != getattr(seen.value, "__name__", None)
    return seen.module != "builtins", seen.module != claimed, other_name, not seen.exported, seen.module.count(".")


def _class(name: str, module: str, value: type, taken: set[int]) -> Iterator[Item]:
    """The class and what it defines itself; `taken` holds the ids of what has a home already, and grows."""
    yield from _described(name, _signature(value), value, module, "class")
    for attribute, member in _members(value, taken):
        if id(_function(member)) in taken:
            continue
        taken.add(id(_function(member)))
        if not isinstance(member, type):
            yield from _member(f"{name}.{attribute}", module, value, member)
        elif member.__qualname__ == f"{value.__qualname__}.{attribute}":
            yield from _class(f"{name}.{attribute}", module, member, taken)


def _members(value: type, taken: set[int]) -> list[tuple[str, object]]:
    members: dict[str, object] = {}
    for definer in _definers(value, taken):
        members = {name: m for name, m in vars(definer).items() if not name.startswith("_")} | members
    # The name that a member calls itself by goes before its aliases.
    return sorted(members.items(), key=lambda pair: pair[0] != getattr(pair[1], "__name__", None))


def _definers(value: type, taken: set[int]) -> Iterator[type]:
    """The class and its private bases: from 3.13, `pathlib.Path` takes most of its methods from one."""
    yield value
    for base in value.__bases__:
        if id(base) not in taken:
            yield from _definers(base, taken)


def _member(name: str, module: str, owner: type, member: object) -> Iterator[Item]:
    if isinstance(member, _PROPERTIES):
        yield from _described(name, "", member, module, "method")
    elif isinstance(member, classmethod | types.ClassMethodDescriptorType):
        yield from _described(name, _signature(getattr(owner, name.rpartition(".")[2])), member, module, "method")
    elif isinstance(member, staticmethod):
        yield from _described(name, _signature(member.__func__), member, module, "method")
    elif inspect.isroutine(member):
        yield from _described(name, _signature(member, skip=1), member, module, "method")


def _signature(value: Any, skip: int = 0) -> str:
    """`(chars=None, /)`: without annotations and the first `skip` parameters; empty where there is none to be had."""
    try:
        signature = inspect.signature(value)
    except Exception:  # a default that inspect evaluates can fail in any way
        return ""
    bare = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else _Default(p.default))
        for p in list(signature.parameters.values())[skip:]
    ]
    return str(inspect.Signature(bare))


def _described(name: str, signature: str, value: object, module: str, kind: str) -> Iterator[Item]:
    """The item of one object; none where it has no docstring."""
    doc = value.__doc__
    if isinstance(doc, str) and (doc := _ADDRESS.sub("", inspect.cleandoc(doc)).strip()):
        metadata: dict[str, Value] = {"module": module, "kind": kind, "lines": doc.count("\n") + 1}
        yield Item(name, f"{name}{signature}\n\n{doc}", metadata)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
