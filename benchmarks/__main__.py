"""Which benchmarks are there? `python -m benchmarks` lists them, `python -m benchmarks NAME ARGS` runs one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path


def questions() -> dict[str, str]:
    """Each benchmark and the question it answers, the first line of its docstring."""
    files = sorted(path for path in Path(__file__).parent.glob("[!_]*.py"))
    docstrings = {path.stem: ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in files}
    return {name: (text or "").partition("\n")[0] for name, text in docstrings.items()}


def main() -> None:
    """Run the benchmark that the first argument names."""
    known = questions()
    if len(sys.argv) > 1 and sys.argv[1] in known:
        runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
        return
    for name, question in known.items():
        print(f"{name:<12}{question}")
    print("\nRun one with `python -m benchmarks NAME ARGS`; NAME --help says what it needs.")
    sys.exit(len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help"))


if __name__ == "__main__":
    main()
