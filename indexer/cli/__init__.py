"""Which commands are there, apart from serving?

Every command reads its settings here, calls one verb, and prints the answer: for people, or with --json for programs.
Whatever is heavy is imported by the command that needs it, so that --help and `status` answer at once.

Exit codes: 0 published, or nothing to do · 1 failed · 2 a wrong command, option or setting · 3 published, but rows were
rejected · 4 the source could not be read to its end · 5 another run holds the collection · 6 a brake refused · 7 on
hold after a rollback · 8 texts are with the Batch API, and a later run picks them up.
"""

from indexer.cli import batches, cache, costs, index, query, store, tokens
from indexer.cli.group import config_option, log_format_option, main, settings_of, store_option
from indexer.cli.query import model_of, open_collection

__all__ = [
    "batches",
    "cache",
    "config_option",
    "costs",
    "index",
    "log_format_option",
    "main",
    "model_of",
    "open_collection",
    "query",
    "settings_of",
    "store",
    "store_option",
    "tokens",
]
