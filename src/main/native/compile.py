#!/usr/bin/env python3
"""Compiles the native CPU kernels into the shared libraries that the jar carries; needs Linux on x86-64 and a JDK.

compile.py          writes the libraries to src/main/resources/dev/kvfreeze/device/cpu/native/linux-x86_64, and checksums.txt
compile.py --check  compiles again and compares with what is committed
compile.py --output FOLDER  writes it elsewhere

The first run makes .venv-native with what requirements.txt asks for (about 100 MB) and goes on there.
"""

import argparse
import concurrent.futures
import importlib.util
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from kernel_build import CompileError, enter_environment, write_checksums  # noqa: E402

SOURCES = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = SOURCES / "requirements.txt"
ENVIRONMENT = SOURCES.parents[2] / ".venv-native"
OUTPUT = SOURCES.parent / "resources" / "dev" / "kvfreeze" / "device" / "cpu" / "native" / "linux-x86_64"
COMMON = ["-std=gnu17", "-O3", "-fPIC", "-fvisibility=hidden", "-fno-sanitize=all", "-ffp-contract=off", "-g0"]
WARNINGS = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter"]
# An old C library, so that the library loads on old systems too.
TARGET = ["-target", "x86_64-linux-gnu.2.17"]
# The libraries, by the processors they are for: what a source may use, by the end of its name, the first that fits. A
# source that ends in another library's way is not part of this one.
# fast_dpwssd is no instruction: without it the compiler makes two of each that multiplies and adds 16-bit numbers.
AVX512 = "x86_64_v4+avx512vnni+avx512vbmi+avx512vbmi2+avx512bitalg+avx512vpopcntdq+fast_dpwssd"
BF16 = AVX512 + "+avx512bf16"
AMX = BF16 + "+amx_tile+amx_bf16+amx_int8"
PROCESSORS = {
    "processor": {"_plain": "x86_64", "": None},
    "avx2": {"_plain": None, "_bf16": None, "_amx": None, "": "x86_64_v3"},
    "avx512": {"_plain": None, "_bf16": BF16, "_amx": AMX, "": AVX512},
}


def find_compiler() -> None:
    if not importlib.util.find_spec("ziglang"):
        enter_environment(ENVIRONMENT, REQUIREMENTS, "the C compiler, about 100 MB")


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


def library_of(level: str) -> str:
    return f"libkvfreeze-cpu-{level}.so"


def processor_of(source: pathlib.Path, level: str) -> str | None:
    """What the source may use in the level's library; None where it is no part of it."""
    return next(cpu for ending, cpu in PROCESSORS[level].items() if source.stem.endswith(ending))


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise CompileError(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


def build(folder: pathlib.Path) -> list[pathlib.Path]:
    """Compiles every source for each library and links them in the folder."""
    zig = [sys.executable, "-m", "ziglang", "cc", *TARGET]
    headers = java_headers()
    includes = [f"-I{headers}", f"-I{headers / 'linux'}", f"-I{SOURCES}"]
    sources = sorted(SOURCES.glob("*.c"))
    parts = {level: [source for source in sources if processor_of(source, level)] for level in PROCESSORS}

    def object_of(source: pathlib.Path, level: str) -> pathlib.Path:
        return folder / f"{source.stem}-{level}.o"

    def compile_one(source: pathlib.Path, level: str) -> None:
        run(
            [*zig, f"-mcpu={processor_of(source, level)}", *COMMON, *WARNINGS, *includes]
            + [f"-ffile-prefix-map={SOURCES}=.", "-c", str(source), "-o", str(object_of(source, level))]
        )

    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as pool:
        list(pool.map(lambda one: compile_one(*one), [(s, level) for level in parts for s in parts[level]]))
    return [link(zig, level, [object_of(s, level) for s in parts[level]], folder) for level in parts]


def link(zig: list[str], level: str, objects: list[pathlib.Path], folder: pathlib.Path) -> pathlib.Path:
    library = folder / library_of(level)
    options = ["-shared", "-s", "-Wl,--build-id=none", f"-Wl,-soname,{library.name}", "-Wl,-z,noexecstack"]
    run([*zig, "-mcpu=x86_64", *options, *map(str, objects), "-o", str(library)])
    return library


def check(built: pathlib.Path) -> None:
    committed = OUTPUT / built.name
    if not committed.is_file():
        raise CompileError(f"{committed} is missing: run {SOURCES.name}/compile.py")
    if committed.read_bytes() != built.read_bytes():
        raise CompileError(f"{committed} does not belong to its sources: run compile.py and commit both")
    print(f"{committed.name} belongs to its sources ({committed.stat().st_size:,} bytes)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed")
    parser.add_argument("--output", type=pathlib.Path, default=OUTPUT, help="folder of the libraries")
    arguments = parser.parse_args()
    find_compiler()
    with tempfile.TemporaryDirectory() as folder:
        libraries = build(pathlib.Path(folder))
        for built in libraries:
            if arguments.check:
                check(built)
                continue
            arguments.output.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(built, arguments.output / built.name)
            print(f"{arguments.output / built.name}: {built.stat().st_size:,} bytes")
        if arguments.output == OUTPUT and not arguments.check:
            write_checksums(SOURCES, libraries)


if __name__ == "__main__":
    try:
        main()
    except CompileError as error:
        sys.exit(f"compile.py: {error}")
