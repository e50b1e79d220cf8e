"""Where does a store live, and when is a write safe?

This is the only package that fsyncs, renames, links and locks, and the only one that knows that a store is a folder.
What holds for everybody else: a file is written once, through `OutputFile`, and complete on disk when `seal` returns;
a folder's new entries are on disk when `sync_folder` returns; `publish` either makes a complete file visible under
its name or leaves no trace under that name; one process at a time holds a collection (`lock`), and finds out when it
does no longer (`check_held`). A refusing disk is a StorageError that says what to do.
"""

from indexer.storage.database import DatabaseFile, DatabaseKind
from indexer.storage.files import (
    OutputFile,
    Sealed,
    add_folder,
    checksum,
    file_names,
    link_file,
    make_folder,
    move_folder,
    publish,
    read_file,
    remove,
    removed_after,
    replace_file,
    size,
    stamp,
    sync_folder,
    write_file,
)
from indexer.storage.locks import Held, check_held, lock, one_at_a_time
from indexer.storage.places import CollectionFolder, collection_folder, collection_names
from indexer.storage.refusals import disk, refusal

__all__ = [
    "CollectionFolder",
    "DatabaseFile",
    "DatabaseKind",
    "Held",
    "OutputFile",
    "Sealed",
    "add_folder",
    "check_held",
    "checksum",
    "collection_folder",
    "collection_names",
    "disk",
    "file_names",
    "link_file",
    "lock",
    "make_folder",
    "move_folder",
    "one_at_a_time",
    "publish",
    "read_file",
    "refusal",
    "remove",
    "removed_after",
    "replace_file",
    "size",
    "stamp",
    "sync_folder",
    "write_file",
]
