"""What the compilers of the kernels (cuda/compile.py, native/compile.py) share: an environment of their own, and checksums
by which a test knows, without compiling, that what is committed was made from the sources as they are."""

import hashlib
import os
import pathlib
import subprocess
import sys
import venv

CHECKSUMS = "checksums.txt"


class CompileError(Exception):
    pass


def enter_environment(folder: pathlib.Path, requirements: pathlib.Path, contents: str) -> None:
    """Starts over in the folder's Python, which is made if need be; for when a package is not here already."""
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    if pathlib.Path(sys.prefix) == folder and stamp.is_file():
        raise CompileError(f"{folder} has lost its packages: delete it and start this again")
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Making {folder} ({contents})", file=sys.stderr, flush=True)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        if subprocess.run([*pip, "--requirement", str(requirements)]).returncode != 0:
            raise CompileError(f"pip could not install {requirements} (its message is above)")
        stamp.write_text(wanted, encoding="utf-8")
    os.execv(python, [str(python), *sys.argv])


def sources_digest(folder: pathlib.Path) -> str:
    """Of all that a folder's outputs depend on, by name."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        if file.is_file() and file.name not in (CHECKSUMS, "README.md"):
            digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def write_checksums(sources: pathlib.Path, outputs: list[pathlib.Path]) -> None:
    lines = [f"{sources_digest(sources)}  sources"]
    for output in sorted(outputs, key=lambda output: output.name):
        lines.append(f"{hashlib.sha256(output.read_bytes()).hexdigest()}  {output.name}")
    (sources / CHECKSUMS).write_text("\n".join(lines) + "\n", encoding="utf-8")
