"""Which benchmarks are there? `python -m benchmarks` lists them, `python -m benchmarks NAME ARGS` runs one.

It leaves with code 3 where the benchmark itself failed, so that this is not taken for a promise that does not hold.
"""

from __future__ import annotations

import runpy
import sys
import traceback

from benchmarks._kept import CRASHED
from benchmarks._plan import questions


def main() -> None:
    """Run the benchmark that the first argument names."""
    known = questions()
    if len(sys.argv) > 1 and sys.argv[1] in known:
        try:
            runpy.run_module(f"benchmarks.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
        except Exception:
            traceback.print_exc()
            sys.exit(CRASHED)
        return
    for name, question in known.items():
        print(f"{name:<12}{question}")
    print("\nRun one with `python -m benchmarks NAME ARGS`; NAME --help says what it needs.")
    sys.exit(len(sys.argv) > 1 and sys.argv[1] not in ("-h", "--help"))


if __name__ == "__main__":
    main()
