#!/usr/bin/env python3
"""Compiles the native CPU kernels into the shared library that the jar carries; needs Linux on x86-64 and a JDK.

compile.py          writes src/main/resources/dev/kvfreeze/device/cpu/native/linux-x86_64/libkvfreeze-cpu.so
compile.py --check  compiles again and compares with what is committed
compile.py --output FOLDER  writes it elsewhere

The first run makes .venv-native with what requirements.txt asks for (about 100 MB) and goes on there.
"""

import argparse
import concurrent.futures
import hashlib
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import venv

SOURCES = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = SOURCES / "requirements.txt"
ENVIRONMENT = SOURCES.parents[2] / ".venv-native"
LIBRARY = "libkvfreeze-cpu.so"
OUTPUT = SOURCES.parent / "resources" / "dev" / "kvfreeze" / "device" / "cpu" / "native" / "linux-x86_64"
COMMON = ["-std=gnu17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-sanitize=all", "-ffp-contract=off", "-g0"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
# An old C library, so that the library loads on old systems too.
TARGET = ["-target", "x86_64-linux-gnu.2.17"]
# By the end of a source's name: what its code may use. Java calls it only where the processor has it.
AVX512 = "x86_64_v4+avx512vnni+avx512vbmi+avx512vbmi2+avx512bitalg+avx512vpopcntdq"
PROCESSORS = {"_avx512": AVX512, "_amx": AVX512 + "+avx512bf16+amx_tile+amx_bf16+amx_int8", "": "x86_64"}


class CompileError(Exception):
    pass


def enter_environment() -> None:
    """Starts over in .venv-native, made if need be, unless the compiler is here already."""
    if importlib.util.find_spec("ziglang"):
        return
    python = ENVIRONMENT / "bin" / "python"
    stamp = ENVIRONMENT / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if pathlib.Path(sys.prefix) == ENVIRONMENT and stamp.is_file():
        raise CompileError(f"{ENVIRONMENT} has lost its packages: delete it and start this again")
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != wanted:
        print(f"Making {ENVIRONMENT} (the C compiler, about 100 MB)", file=sys.stderr, flush=True)
        venv.create(ENVIRONMENT, with_pip=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "--quiet"]
        if subprocess.run([*pip, "--requirement", str(REQUIREMENTS)]).returncode != 0:
            raise CompileError(f"pip could not install {REQUIREMENTS} (its message is above)")
        stamp.write_text(wanted, encoding="utf-8")
    os.execv(python, [str(python), *sys.argv])


def java_headers() -> pathlib.Path:
    """The folder of jni.h: of JAVA_HOME, or of the javac on the path."""
    candidates = []
    if os.environ.get("JAVA_HOME"):
        candidates.append(pathlib.Path(os.environ["JAVA_HOME"]))
    javac = shutil.which("javac")
    if javac:
        candidates.append(pathlib.Path(javac).resolve().parents[1])
    for home in candidates:
        if (home / "include" / "jni.h").is_file():
            return home / "include"
    raise CompileError("no JDK with include/jni.h: set JAVA_HOME to one")


def processor_of(source: pathlib.Path) -> str:
    return next(cpu for ending, cpu in PROCESSORS.items() if source.stem.endswith(ending))


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CompileError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles every source and links the library in the folder."""
    zig = [sys.executable, "-m", "ziglang", "cc", *TARGET]
    headers = java_headers()
    includes = [f"-I{headers}", f"-I{headers / 'linux'}", f"-I{SOURCES}"]
    sources = sorted(SOURCES.glob("*.c"))
    objects = [folder / f"{source.stem}.o" for source in sources]

    def compile_one(source: pathlib.Path, target: pathlib.Path) -> None:
        run(
            [*zig, f"-mcpu={processor_of(source)}", *COMMON, *WARNINGS, *includes]
            + [f"-ffile-prefix-map={SOURCES}=.", "-c", str(source), "-o", str(target)]
        )

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        list(pool.map(compile_one, sources, objects))
    library = folder / LIBRARY
    link = ["-shared", "-s", "-Wl,--build-id=none", f"-Wl,-soname,{LIBRARY}", "-Wl,-z,noexecstack"]
    run([*zig, "-mcpu=x86_64", *link, *map(str, objects), "-o", str(library)])
    return library


def check(built: pathlib.Path) -> None:
    committed = OUTPUT / LIBRARY
    if not committed.is_file():
        raise CompileError(f"{committed} is missing: run {SOURCES.name}/compile.py")
    if committed.read_bytes() != built.read_bytes():
        raise CompileError(f"{committed} does not belong to its sources: run compile.py and commit both")
    print(f"{committed.name} belongs to its sources ({committed.stat().st_size:,} bytes)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="folder of the library")
    arguments = parser.parse_args()
    enter_environment()
    with tempfile.TemporaryDirectory() as folder:
        built = build(pathlib.Path(folder))
        if arguments.check:
            check(built)
            return
        arguments.output.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(built, arguments.output / LIBRARY)
        print(f"{arguments.output / LIBRARY}: {built.stat().st_size:,} bytes")


if __name__ == "__main__":
    try:
        main()
    except CompileError as error:
        sys.exit(f"compile.py: {error}")
