"""What the set-up scripts share: messages, a lock between processes, the cache folder."""

import contextlib
import errno
import fcntl
import hashlib
import os
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MINIMUM_PYTHON = (3, 11)


class SetupError(Exception):
    """What failed and the remedy, for the user; no stack trace is shown."""


def cache_folder() -> pathlib.Path:
    """Where models are kept: $KVFREEZE_CACHE, or ~/.cache/kvfreeze."""
    return pathlib.Path(os.environ.get("KVFREEZE_CACHE") or "~/.cache/kvfreeze").expanduser()


@contextlib.contextmanager
def exclusive(path: pathlib.Path, what: str):
    """Holds the lock file; a second process waits and says for what. Released by the system on exit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"Waiting for another process that {what} ...", file=sys.stderr, flush=True)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def sha256_of(path: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def run_main(main) -> None:
    """Runs a script's main and turns what a user can cure into one readable line."""
    name = pathlib.Path(sys.argv[0]).name
    try:
        sys.exit(main())
    except SetupError as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"\n{name}: stopped; start it again to go on")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        place = f" at {error.filename}" if error.filename else ""
        remedy = "free some space there" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "make it writable"
        sys.exit(f"{name}: {error.strerror}{place}; {remedy}, or set KVFREEZE_CACHE to another folder")
