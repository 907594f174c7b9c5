"""Serve a throwaway PostgreSQL over a socket file until standard input ends.

    python scripts/postgres_server.py

Prints its address, ready for SIM_DEVIN_STORE. Needs the server's programs (Debian: the
package ``postgresql``); exits 3 where they are missing. Run by root it becomes the user
``postgres``, since the server refuses to be root.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

USER = "postgres"


def programs() -> Path | None:
    """Return the folder of the newest server's programs."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def main() -> int:
    """Serve, and return the exit code."""
    folder = programs()
    if folder is None:
        sys.stderr.write("There is no PostgreSQL server here. Debian: apt install postgresql\n")
        return 3
    account: dict[str, Any] = {"user": USER, "group": USER} if os.geteuid() == 0 else {}
    place = tempfile.mkdtemp(prefix="pg-")
    try:
        if account:
            shutil.chown(place, **account)
        data = f"{place}/data"
        subprocess.run(
            [folder / "initdb", "-D", data, "-A", "trust", "-U", USER, "--no-sync"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=place,
            **account,
        )
        options = shlex.join(["-k", place, "-c", "listen_addresses=", *sys.argv[1:]])
        control = [folder / "pg_ctl", "-D", data, "-l", f"{data}/log", "-w", "-s"]
        subprocess.run([*control, "-o", options, "start"], check=True, cwd=place, **account)
        try:
            sys.stdout.write(f"postgresql://{USER}@/{USER}?host={quote(place, safe='')}\n")
            sys.stdout.flush()
            sys.stdin.read()
        except KeyboardInterrupt:
            pass
        finally:
            subprocess.run([*control, "-m", "fast", "stop"], check=True, cwd=place, **account)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
