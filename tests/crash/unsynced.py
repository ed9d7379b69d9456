"""A file layer for SQLite that loses what was not synced.

SIGKILL leaves the system's page cache alive, so a process that forgets to sync loses nothing by it. Under this layer
it does: what SQLite writes stays in the memory of the process (reads see it, as they see the page cache) and reaches
the file only when SQLite syncs. Killing the process is then what a power cut is.

    write, truncate --> image in memory --+--> reads
                              |           |
                           pending        | sync
                              +-----------+--> the file

It is a VFS of SQLite's own kind (https://www.sqlite.org/vfs.html), registered through ctypes in the very library
that Python's sqlite3 uses: the methods of the system's VFS, of which only those that open, read, write, sync and
delete are replaced. Locks and shared memory stay the system's.

A disk may also write early what nobody asked it to sync, in any order and only the first part of it: `early` says how
often. And it may be out of room, fail to sync, or refuse to be written to: see `Disk`. What happens to the names in a
folder, which have to be synced too, is kept in a ledger; entries.py takes it back after the cut.
"""

from __future__ import annotations

import _sqlite3
import ctypes
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from crash.entries import Ledger

OK, READONLY, IOERR_SHORT_READ, IOERR_FSYNC, FULL = 0, 8, 522, 1034, 13
OPEN_CREATE, OPEN_MAIN_DB, OPEN_MAIN_JOURNAL, OPEN_WAL = 0x4, 0x100, 0x800, 0x80000
KEPT = OPEN_MAIN_DB | OPEN_MAIN_JOURNAL | OPEN_WAL
SECTOR_BYTES = 512

_installed: list[Disk] = []
"""What SQLite knows the addresses of may not be collected."""

_int, _p, _i64 = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64


class IoMethods(ctypes.Structure):
    """sqlite3_io_methods, version 2: without memory mapping of files."""

    _fields_ = [
        ("iVersion", _int),
        ("xClose", ctypes.CFUNCTYPE(_int, _p)),
        ("xRead", ctypes.CFUNCTYPE(_int, _p, _p, _int, _i64)),
        ("xWrite", ctypes.CFUNCTYPE(_int, _p, _p, _int, _i64)),
        ("xTruncate", ctypes.CFUNCTYPE(_int, _p, _i64)),
        ("xSync", ctypes.CFUNCTYPE(_int, _p, _int)),
        ("xFileSize", ctypes.CFUNCTYPE(_int, _p, ctypes.POINTER(_i64))),
        *((name, _p) for name in ("xLock", "xUnlock", "xCheckReservedLock", "xFileControl")),
        *((name, _p) for name in ("xSectorSize", "xDeviceCharacteristics")),
        *((name, _p) for name in ("xShmMap", "xShmLock", "xShmBarrier", "xShmUnmap", "xFetch", "xUnfetch")),
    ]


class OpenFile(ctypes.Structure):
    """sqlite3_file: the methods come first, what follows is the system VFS's own."""

    _fields_ = [("pMethods", ctypes.POINTER(IoMethods))]


class Vfs(ctypes.Structure):
    """sqlite3_vfs, version 3."""

    _fields_ = [
        ("iVersion", _int),
        ("szOsFile", _int),
        ("mxPathname", _int),
        ("pNext", _p),
        ("zName", ctypes.c_char_p),
        ("pAppData", _p),
        ("xOpen", ctypes.CFUNCTYPE(_int, _p, _p, ctypes.POINTER(OpenFile), _int, _p)),
        ("xDelete", ctypes.CFUNCTYPE(_int, _p, ctypes.c_char_p, _int)),
        *((name, _p) for name in ("xAccess", "xFullPathname", "xDlOpen", "xDlError", "xDlSym", "xDlClose")),
        *((name, _p) for name in ("xRandomness", "xSleep", "xCurrentTime", "xGetLastError", "xCurrentTimeInt64")),
        *((name, _p) for name in ("xSetSystemCall", "xGetSystemCall", "xNextSystemCall")),
    ]


class Image:
    """One file as the process sees it, and what of it the disk does not have yet: pieces, or a new size."""

    def __init__(self, path: str, content: bytes, *, sync_names: bool) -> None:
        self.path = path
        self.content = bytearray(content)
        self.pending: list[tuple[int, bytes] | int] = []
        self.sync_names = sync_names  # whether the first sync of it syncs the folder too, as the system's VFS has it


class Disk:
    """What the disk is like. One for a process; make it before SQLite opens anything, and `install` it.

    `room_bytes`: so much more may be written past the ends of files; None is plenty. `syncs_left`: so many syncs
    succeed, then they fail; what a failed one should have written is lost, though reads still see it. `read_only`:
    every write is refused. They hold for files whose names end in one of `concerned`, and until there were
    `faults_max`; how many there were says `faults`.
    """

    def __init__(self, side: Path, *, seed: int = 0, early: float = 0.0) -> None:
        self.room_bytes: int | None = None
        self.syncs_left: int | None = None
        self.read_only = False
        self.concerned: tuple[str, ...] = ("",)
        self.faults_max: int | None = None
        self.faults = 0
        self.ledger = Ledger(side)
        self._early, self._random = early, Random(seed)
        self._images: dict[tuple[int, int], Image] = {}  # by inode: they outlive being closed and being renamed
        self._open: dict[int, Image] = {}
        self._methods: dict[int, tuple[IoMethods, IoMethods]] = {}  # address of the system's -> (the system's, ours)
        self._lock = threading.RLock()

    def install(self) -> None:
        """Become the VFS of every connection this process opens from now on, and see what is renamed."""
        library = ctypes.CDLL(_sqlite3.__file__)  # finds the library that this module is linked with
        find, register = library.sqlite3_vfs_find, library.sqlite3_vfs_register
        find.restype, find.argtypes = ctypes.POINTER(Vfs), [ctypes.c_char_p]
        register.argtypes = [ctypes.POINTER(Vfs), _int]
        self._system = find(None).contents
        self._vfs = Vfs()
        ctypes.memmove(ctypes.byref(self._vfs), ctypes.byref(self._system), ctypes.sizeof(Vfs))
        self._vfs.iVersion = min(self._system.iVersion, 3)
        self._vfs.zName = b"unsynced"
        self._vfs.pNext = None
        self._vfs.xOpen = self._vfs._fields_[6][1](_guarded(self._x_open))
        self._vfs.xDelete = self._vfs._fields_[7][1](_guarded(self._x_delete))
        if register(ctypes.byref(self._vfs), 1) != OK:
            raise RuntimeError("SQLite does not take the VFS")
        self.ledger.watch_renames()
        _installed.append(self)

    # --- called by SQLite, from any thread ----------------------------------------------------------------------------

    def _x_open(self, _: int, name: int | None, file: Any, flags: int, out_flags: int) -> int:
        path = ctypes.string_at(name).decode() if name else ""
        there = bool(path) and os.path.exists(path)
        if path and flags & OPEN_CREATE and not there and self._refuses(path):
            return READONLY
        rc: int = self._system.xOpen(ctypes.addressof(self._system), name, file, flags, out_flags)
        if rc != OK or not path or not flags & KEPT:
            return rc
        with self._lock:
            address = ctypes.addressof(file.contents)
            status = os.stat(path)
            key = status.st_dev, status.st_ino
            if key not in self._images:
                synced_with = not there and bool(flags & (OPEN_WAL | OPEN_MAIN_JOURNAL))
                self._images[key] = Image(path, self._content(file), sync_names=synced_with)
            if not there:
                self.ledger.created(path)
            self._open[address] = self._images[key]
            file.contents.pMethods = ctypes.pointer(self._ours(file.contents.pMethods))
        return OK

    def _x_close(self, file: int) -> int:
        with self._lock:
            del self._open[file]
        rc: int = self._theirs(file).xClose(file)
        return rc

    def _x_read(self, file: int, buffer: int, amount: int, offset: int) -> int:
        with self._lock:
            piece = bytes(self._open[file].content[offset : offset + amount])
        ctypes.memmove(buffer, piece, len(piece))
        if len(piece) == amount:
            return OK
        ctypes.memset(buffer + len(piece), 0, amount - len(piece))
        return IOERR_SHORT_READ

    def _x_write(self, file: int, buffer: int, amount: int, offset: int) -> int:
        with self._lock:
            image, piece = self._open[file], ctypes.string_at(buffer, amount)
            if self._refuses(image.path):
                return READONLY
            growth = max(0, offset + amount - len(image.content))
            if self.room_bytes is not None and self._concerns(image.path):
                if growth > self.room_bytes:
                    self.faults += 1
                    return FULL
                self.room_bytes -= growth
            if offset > len(image.content):
                image.content.extend(bytes(offset - len(image.content)))
            image.content[offset : offset + amount] = piece
            image.pending.append((offset, piece))
            if self._early and self._random.random() < self._early:
                self._put_early(file, offset, piece)
        return OK

    def _x_truncate(self, file: int, size: int) -> int:
        with self._lock:
            image = self._open[file]
            if self._refuses(image.path):
                return READONLY
            del image.content[size:]
            image.content.extend(bytes(size - len(image.content)))
            image.pending.append(size)
        return OK

    def _x_sync(self, file: int, _flags: int) -> int:
        with self._lock:
            image = self._open[file]
            if self.syncs_left is not None and self._concerns(image.path):
                if self.syncs_left <= 0:
                    self.faults += 1
                    image.pending.clear()  # as on Linux: what could not be written counts as clean from then on
                    return IOERR_FSYNC
                self.syncs_left -= 1
            for change in image.pending:
                self._put(file, change)
            image.pending.clear()
            if image.sync_names:
                self.ledger.synced(os.path.dirname(image.path))
                image.sync_names = False
        return OK

    def _x_file_size(self, file: int, size: Any) -> int:
        with self._lock:
            size[0] = len(self._open[file].content)
        return OK

    def _x_delete(self, _: int, name: bytes, sync_folder: int) -> int:
        path = name.decode()
        with self._lock:
            if self._refuses(path):
                return READONLY
            if not os.path.exists(path):
                return 5898  # SQLITE_IOERR_DELETE_NOENT
            self.ledger.delete(path)
            if sync_folder:
                self.ledger.synced(os.path.dirname(path))
        return OK

    # --- below them ---------------------------------------------------------------------------------------------------

    def _refuses(self, path: str) -> bool:
        refused = self.read_only and self._concerns(path)
        self.faults += refused
        return refused

    def _concerns(self, path: str) -> bool:
        return path.endswith(self.concerned) and (self.faults_max is None or self.faults < self.faults_max)

    def _put(self, file: int, change: tuple[int, bytes] | int) -> None:
        methods = self._theirs(file)
        if isinstance(change, int):
            rc = methods.xTruncate(file, change)
        else:
            rc = methods.xWrite(file, ctypes.cast(ctypes.c_char_p(change[1]), _p), len(change[1]), change[0])
        if rc != OK:
            raise OSError(f"SQLite's own VFS says {rc}")

    def _put_early(self, file: int, offset: int, piece: bytes) -> None:
        """The disk has this already, or the first sectors of it; what else is pending comes when it comes."""
        size = len(piece) if self._random.random() < 0.5 else self._random.randrange(0, len(piece), SECTOR_BYTES)
        if size:
            self._put(file, (offset, piece[:size]))

    def _content(self, file: Any) -> bytes:
        methods, address = file.contents.pMethods.contents, ctypes.addressof(file.contents)
        size = _i64()
        methods.xFileSize(address, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        if size.value:
            methods.xRead(address, ctypes.cast(buffer, _p), size.value, 0)
        return buffer.raw

    def _theirs(self, file: int) -> IoMethods:
        return self._by_ours[ctypes.addressof(OpenFile.from_address(file).pMethods.contents)]

    def _ours(self, pointer: Any) -> IoMethods:
        address = ctypes.addressof(pointer.contents)
        if address not in self._methods:
            theirs, ours = pointer.contents, IoMethods()
            ctypes.memmove(ctypes.byref(ours), ctypes.byref(theirs), ctypes.sizeof(IoMethods))
            ours.iVersion = min(theirs.iVersion, 2)
            types = dict(IoMethods._fields_)
            for name, method in (
                ("xClose", self._x_close),
                ("xRead", self._x_read),
                ("xWrite", self._x_write),
                ("xTruncate", self._x_truncate),
                ("xSync", self._x_sync),
                ("xFileSize", self._x_file_size),
            ):
                setattr(ours, name, types[name](_guarded(method)))
            self._methods[address] = theirs, ours
        return self._methods[address][1]

    @property
    def _by_ours(self) -> dict[int, IoMethods]:
        return {ctypes.addressof(ours): theirs for theirs, ours in self._methods.values()}


def _guarded(method: Callable[..., int]) -> Callable[..., int]:
    """ctypes would swallow what a callback raises and answer 0, which means success here."""

    def call(*arguments: Any) -> int:
        try:
            return method(*arguments)
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            sys.stderr.flush()
            os._exit(70)

    return call
