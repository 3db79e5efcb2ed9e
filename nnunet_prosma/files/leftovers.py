"""Temporary names that tell whose they are, so that what a kill left behind is removed and what is at work is not.

A name is .NAME.HOST.PID.START.part: START is when the process started, since numbers of processes are used again. HOST
holds the number of the process namespace too, where there is one: what another host or container left cannot be known
to be dead, and stays.
"""

import functools
import hashlib
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from nnunet_prosma.errors import InputError

NEW, OLD = "new", "old"
"""Names in such a folder: what is made, and what it replaces, where a system cannot exchange two folders."""
LONGEST = 80
"""Bytes of NAME in a temporary name; file systems take 255 in all."""


@dataclass(frozen=True)
class Leftover:
    path: Path
    host: str
    pid: int
    start: str

    @property
    def dead(self) -> bool:
        """Whether it is this host's, and its process is known to be no more."""
        return self.host == host() and start_of(self.pid) not in (self.start, None)


@functools.cache
def host() -> str:
    """This host's name, and on Linux this process's namespace: a number means nothing in another one."""
    try:
        namespace = "-" + re.sub(r"\D", "", os.readlink("/proc/self/ns/pid"))
    except OSError:
        namespace = ""
    return re.sub(r"[^A-Za-z0-9-]", "-", socket.gethostname())[:60] + namespace


def start_of(pid: int) -> str | None:
    """The time at which the process started, as digits; "" if there is none of that number, and None if that cannot
    be known."""
    if os.path.isdir("/proc/self"):
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        except OSError:
            return None
        return "" if fields[0] in "ZX" else fields[19]
    try:
        words = ["ps", "-o", "lstart=", "-p", str(pid)]
        told = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C", "TZ": "UTC"})
    except OSError:
        return None
    if told.returncode not in (0, 1):
        return None
    return hashlib.sha256(told.stdout.strip().encode()).hexdigest()[:12] if told.stdout.strip() else ""


def temporary_name(path: Path) -> Path:
    pid = os.getpid()
    return path.with_name(f".{_short(path.name)}.{host()}.{pid}.{start_of(pid) or 0}.part")


def leftovers(path: Path) -> list[Leftover]:
    """What others write, or wrote, in order to put it at this path."""
    pattern = re.compile(rf"\.{re.escape(_short(path.name))}\.([A-Za-z0-9-]+)\.(\d+)\.([0-9a-f]+)\.part")
    if not path.parent.is_dir():
        return []
    found = ((entry, pattern.fullmatch(entry)) for entry in os.listdir(path.parent))
    own = temporary_name(path).name
    return [Leftover(path.parent / entry, m[1], int(m[2]), m[3]) for entry, m in found if m and entry != own]


def remove_dead(path: Path) -> list[Leftover]:
    """What is left beside the path and not removed: that of living processes, and of other hosts."""
    rest = []
    for leftover in leftovers(path):
        if not leftover.dead:
            rest.append(leftover)
            continue
        if (leftover.path / OLD).exists() and not os.path.lexists(path):
            os.rename(leftover.path / OLD, path)
        remove(leftover.path)
    return rest


@contextmanager
def taken(path: Path) -> Iterator[Path]:
    """A folder of this process beside the path, to make things in. Of two processes that want one path one is refused.

    The folder that holds the path is made if it has to be, and removed again if the block fails.
    """
    made = [folder for folder in path.parents if not folder.exists()]
    own = temporary_name(path)
    try:
        _take(path, own)
        try:
            yield own
        except OSError as error:
            name_file(error, path)
            raise
        finally:
            remove(own)
    except BaseException:
        for folder in made:
            with suppress(OSError):  # it holds something by now
                folder.rmdir()
        raise


def name_file(error: OSError, path: Path) -> None:
    """Names it where the system did not, as when a disk is full."""
    if error.errno is not None and error.filename is None and not isinstance(error, BrokenPipeError):
        error.filename = str(path)


def _take(path: Path, own: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone_in(path.parent):
            own.mkdir()
            rest = remove_dead(path)
            if rest:
                own.rmdir()
    except FileExistsError as error:
        if not own.exists():
            raise InputError(f"{path} cannot be written: {error.filename} is a file") from None
        raise InputError(f"{path} is being written by this process already: name another output") from None
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
    if rest:
        _refuse(path, rest[0])


def _refuse(path: Path, other: Leftover) -> None:
    if other.host == host():
        raise InputError(f"{path} is being written by process {other.pid}: wait for it, end it, or name another output")
    raise InputError(
        f"{path} is being written by process {other.pid} of {other.host}, or was when that ended: name another output, "
        f"or remove {other.path} if it has ended"
    )


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No two processes look and take at once; where folders cannot be locked, both may be refused, but not none."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # such as on a network's file system
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _short(name: str) -> str:
    whole = name.encode()
    if len(whole) <= LONGEST:
        return name
    return whole[: LONGEST - 17].decode(errors="ignore") + "-" + hashlib.sha256(whole).hexdigest()[:16]
