"""Whether a file is used by the processes of one machine: SQLite and locks are for no more.

A file on a network file system is refused by the name of that. Elsewhere the machine that uses it
has its mark in the file of locks, and renews it: two that share a disk notice each other.
"""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from sim_devin.clock import boottime
from sim_devin.errors import StoreError

log = logging.getLogger("sim_devin")

# File systems whose files the processes of several machines, or of a virtual machine and its host,
# can open at the same time: man 5 nfs, mount.cifs, fuse(8), the kernel's Documentation/filesystems.
NETWORK = re.compile(
    r"(fuse\.)?(9p|acfs|afpfs|afs|beegfs|ceph(-fuse)?|cifs|coda|curlftpfs|davfs2?|drvfs|gcsfuse|gfs2?"
    r"|glusterfs|gpfs|juicefs|lizardfs|lustre|mfs|moosefs|ncpfs|nfs\d?|ocfs2|orangefs|panfs|prl_fs"
    r"|pvfs2|rclone|s3fs|seaweedfs|smb(fs|\d)|smbnetfs|sshfs|vboxsf|virtiofs|vmhgfs(-fuse)?|webdav"
    r"|weed|wekafs)"
)
MOUNTS = Path("/proc/self/mountinfo")
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
BOOT = Path("/proc/sys/kernel/random/boot_id")

RENEWED = 5.0  # seconds after which a machine that uses a file renews its mark
WATCHED = 12.0  # seconds without that after which another machine may use it
LENGTH = 64  # bytes of a mark

MOVE = "Put it on a local disk with SIM_DEVIN_STORE, or keep the runs in PostgreSQL, which machines"
MOVE += " can share: SIM_DEVIN_STORE=postgresql://…"


def require_local(path: str) -> None:
    """Raise if a file that can be written is on a file system that machines share.

    Raises:
        StoreError: it is; says what to do.
    """
    real = Path(os.path.realpath(path))
    if real.exists() and not os.access(real, os.W_OK):
        return  # it will only be read
    kind = file_system(str(real))
    if kind is not None and NETWORK.fullmatch(kind):
        raise StoreError(f"The run store {path} is on a network file system ({kind}).", hint=MOVE)


def file_system(path: str) -> str | None:
    """Return the kind of file system that a path is on; None where nothing tells."""
    if sys.platform == "win32":
        import ctypes

        drive = os.path.splitdrive(path)[0]
        remote = ctypes.windll.kernel32.GetDriveTypeW(f"{drive}\\") == 4
        return "smbfs" if remote or drive.startswith("\\\\") else None
    found: tuple[int, str | None] = (-1, None)
    with suppress(OSError, subprocess.SubprocessError):
        for point, kind in _mounts():
            inside = path == point or path.startswith(point.rstrip("/") + "/")
            if inside and len(point) >= found[0]:  # of two at one place the later hides the other
                found = len(point), kind
    return found[1]


def _mounts() -> Iterator[tuple[str, str]]:
    """Yield where file systems are mounted, and their kinds."""
    if sys.platform == "linux":
        for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
            before, _, after = line.partition(" - ")
            point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), before.split()[4])
            yield point, after.split()[0].lower()
        return
    told = subprocess.run(["/sbin/mount"], capture_output=True, text=True, timeout=10, check=True)
    for found in re.finditer(r"^.* on (/.*) \((\w+)[,)]", told.stdout, re.MULTILINE):
        yield found[1], found[2].lower()


def _digest(text: str) -> str:
    """Return what stands for an identity: the system asks for its own not to be handed on."""
    return hashlib.sha256(f"sim-devin {text}".encode()).hexdigest()[:16]


def _read(*paths: Path) -> str:
    for path in paths:
        with suppress(OSError, UnicodeDecodeError):
            if text := path.read_text().strip():
                return text
    return ""


def identity() -> tuple[str, str]:
    """Return what tells this machine from others, and this start of it from others.

    Containers on one machine have the second in common; their locks work between them.
    """
    machine = _read(*MACHINE) or platform.node()
    return _digest(machine), _digest(_read(BOOT) or machine)


class Mark:
    """The mark of this machine in a file that its processes use.

    Args:
        descriptor: of the file of locks, in which it stands.
        path: the file that is used, for messages.
    """

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._machine, self._boot = identity()
        self._renewed = 0.0

    def put(self) -> None:
        """Put the mark into the file, unless another machine renews its own there.

        Raises:
            StoreError: it does.
        """
        found = self._read()
        if found and self._machine not in found and self._boot not in found:
            log.warning("%s was used by another machine; looking whether it still is", self._path)
            time.sleep(WATCHED)
            if self._read() != found:
                raise self._shared()
        self._write()

    def renew(self) -> None:
        """Renew the mark now and then.

        Raises:
            StoreError: it is another machine's by now.
        """
        found = self._read()
        if found and self._boot not in found:
            raise self._shared()
        if not found or boottime() - self._renewed >= RENEWED:
            self._write()

    def _read(self) -> str:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return os.read(self._descriptor, LENGTH).decode("ascii", "replace").strip("\0 \n")

    def _write(self) -> None:
        self._renewed = boottime()
        text = (
            f"{self._machine} {self._boot} {time.time_ns():x}".ljust(LENGTH - 1)[: LENGTH - 1]
            + "\n"
        )
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with suppress(OSError):  # a full disk: the next time, then
            os.write(self._descriptor, f"{text:<{LENGTH - 1}}\n".encode())

    def _shared(self) -> StoreError:
        return StoreError(
            f"The run store {self._path} is used by another machine.",
            hint="Stop what uses it there; it can be used here a few seconds later. Machines "
            "cannot share a file: for that, keep the runs in PostgreSQL with SIM_DEVIN_STORE.",
        )
