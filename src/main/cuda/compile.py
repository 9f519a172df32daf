#!/usr/bin/env python3
"""Compiles the kernels to PTX with NVRTC; needs no GPU and no CUDA installation.

compile.py          writes src/main/resources/dev/kvfreeze/device/cuda/ptx/FAMILY.ptx, assembles it for each architecture of
                    ARCHITECTURES, and writes checksums.txt where none spills more than spills.txt says
compile.py --check  compiles again, compares with what is committed, and assembles it as above
compile.py --table  prints registers, shared memory and spills of every kernel, by architecture

The first run makes .venv-cuda with what requirements.txt asks for (about 120 MB) and goes on there.
"""

import argparse
import concurrent.futures
import ctypes
import hashlib
import importlib.machinery
import importlib.util
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from kernel_build import CompileError, enter_environment, write_checksums  # noqa: E402

SOURCES = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = SOURCES / "requirements.txt"
ENVIRONMENT = SOURCES.parents[2] / ".venv-cuda"
OUTPUT = SOURCES.parent / "resources" / "dev" / "kvfreeze" / "device" / "cuda" / "ptx"
ALLOWANCES = SOURCES / "spills.txt"
OPTIONS = ["--gpu-architecture=compute_80", "--std=c++17", "--device-as-default-execution-space"]
ARCHITECTURES = ["sm_80", "sm_89", "sm_90a"]


def find_package(name: str) -> importlib.machinery.ModuleSpec | None:
    try:
        return importlib.util.find_spec(f"nvidia.{name}")
    except ModuleNotFoundError:
        return None


def find_compilers() -> None:
    if not (find_package("cuda_nvrtc") and find_package("cuda_nvcc")):
        enter_environment(ENVIRONMENT, REQUIREMENTS, "NVRTC and ptxas 12.6, about 120 MB")


def package_folder(name: str) -> pathlib.Path:
    found = find_package(name)
    if found is None:
        raise CompileError(f"nvidia.{name} is missing: delete {ENVIRONMENT} and start this again")
    return pathlib.Path(list(found.submodule_search_locations)[0])


class Nvrtc:
    """The few calls of NVRTC that are needed."""

    def __init__(self) -> None:
        folder = package_folder("cuda_nvrtc") / "lib"
        # NVRTC opens its builtins by name: they must be loaded already.
        for library in sorted(folder.glob("libnvrtc-builtins.so.*")):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self.library = ctypes.CDLL(str(folder / "libnvrtc.so.12"))
        self.library.nvrtcGetErrorString.restype = ctypes.c_char_p

    def version(self) -> str:
        major, minor = ctypes.c_int(), ctypes.c_int()
        self.call("nvrtcVersion", ctypes.byref(major), ctypes.byref(minor))
        return f"{major.value}.{minor.value}"

    def call(self, name: str, *arguments) -> None:
        code = getattr(self.library, name)(*arguments)
        if code != 0:
            raise CompileError(f"{name}: {self.library.nvrtcGetErrorString(code).decode()}")

    def text(self, program, size_call: str, text_call: str) -> str:
        size = ctypes.c_size_t()
        self.call(size_call, program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        self.call(text_call, program, buffer)
        return buffer.value.decode()

    def compile(self, source: pathlib.Path) -> str:
        program = ctypes.c_void_p()
        code = source.read_bytes()
        self.call("nvrtcCreateProgram", ctypes.byref(program), code, source.name.encode(), 0, None, None)
        options = [*OPTIONS, f"--include-path={SOURCES}"]
        array = (ctypes.c_char_p * len(options))(*[option.encode() for option in options])
        status = self.library.nvrtcCompileProgram(program, len(options), array)
        log = self.text(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog").strip()
        if status != 0:
            raise CompileError(f"{source.name} does not compile:\n{log}")
        if log:
            print(log, file=sys.stderr)
        ptx = self.text(program, "nvrtcGetPTXSize", "nvrtcGetPTX")
        self.call("nvrtcDestroyProgram", ctypes.byref(program))
        return ptx


def families() -> list[pathlib.Path]:
    return sorted(SOURCES.glob("*.cu"))


def headers_of(source: pathlib.Path) -> list[pathlib.Path]:
    """The headers that a source includes, directly or not."""
    found: list[pathlib.Path] = []
    todo = [source]
    while todo:
        for name in re.findall(r'^#include "(.*)"', todo.pop().read_text(encoding="utf-8"), re.M):
            header = SOURCES / name
            # host_shim.h is for g++ only and lies elsewhere.
            if header.is_file() and header not in found:
                found.append(header)
                todo.append(header)
    return sorted(found)


def source_hash(source: pathlib.Path) -> str:
    digest = hashlib.sha256()
    for file in [source, *headers_of(source)]:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def ptx_of(nvrtc: Nvrtc, source: pathlib.Path) -> str:
    body = nvrtc.compile(source)
    names = ", ".join(file.name for file in [source, *headers_of(source)])
    header = [
        f"// {source.stem}: compiled from {names} by src/main/cuda/compile.py; do not edit.",
        f"// sources (SHA-256): {source_hash(source)}",
        f"// compiler: NVRTC {nvrtc.version()}, options: {' '.join(OPTIONS)}",
    ]
    return "\n".join(header) + "\n" + body


def target(source: pathlib.Path) -> pathlib.Path:
    return OUTPUT / f"{source.stem}.ptx"


def assemble(ptx: pathlib.Path, architecture: str, folder: pathlib.Path) -> list[dict]:
    """Runs ptxas; a row a kernel."""
    ptxas = package_folder("cuda_nvcc") / "bin" / "ptxas"
    cubin = folder / f"{ptx.stem}-{architecture}.cubin"
    done = subprocess.run(
        [str(ptxas), f"-arch={architecture}", "-v", str(ptx), "-o", str(cubin)], capture_output=True, text=True
    )
    if done.returncode != 0:
        raise CompileError(f"{ptx.name} does not assemble for {architecture}:\n{done.stderr}")
    rows = []
    for part in re.split(r"Compiling entry function '", done.stderr)[1:]:
        kernel = part[: part.index("'")]
        spills = re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", part)
        registers = re.search(r"Used (\d+) registers", part)
        shared = re.search(r"(\d+) bytes smem", part)
        rows.append(
            {
                "family": ptx.stem,
                "kernel": kernel,
                "architecture": architecture,
                "registers": int(registers.group(1)),
                "shared": int(shared.group(1)) if shared else 0,
                "stack": int(spills.group(1)),
                "spills": int(spills.group(2)) + int(spills.group(3)),
            }
        )
    return rows


def assemble_all() -> list[dict]:
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        jobs = [
            pool.submit(assemble, target(source), architecture, pathlib.Path(folder))
            for source in families()
            for architecture in ARCHITECTURES
        ]
        return [row for job in jobs for row in job.result()]


def allowances() -> dict[tuple[str, str], int]:
    """Bytes of spills that are known and accepted, by kernel and architecture."""
    allowed = {}
    for line in ALLOWANCES.read_text(encoding="utf-8").splitlines():
        fields = line.split("#")[0].split()
        if fields:
            kernel, architecture, spilled = fields
            allowed[kernel, architecture] = int(spilled)
    return allowed


def write() -> None:
    nvrtc = Nvrtc()
    OUTPUT.mkdir(parents=True, exist_ok=True)
    for stale in set(OUTPUT.glob("*.ptx")) - {target(source) for source in families()}:
        stale.unlink()
    for source in families():
        target(source).write_text(ptx_of(nvrtc, source), encoding="utf-8")
    report(unknown_spills())
    write_checksums(SOURCES, [target(source) for source in families()])


def unknown_spills() -> list[str]:
    """Kernels that spill more than is allowed."""
    allowed = allowances()
    problems = []
    for row in assemble_all():
        limit = allowed.get((row["kernel"], row["architecture"]), 0)
        if row["spills"] > limit:
            problems.append(
                f"{row['kernel']} spills {row['spills']} bytes on {row['architecture']}, {limit} are allowed"
                " (src/main/cuda/spills.txt)"
            )
    return problems


def report(problems: list[str]) -> None:
    if problems:
        raise CompileError("\n".join(problems))


def check() -> None:
    nvrtc = Nvrtc()
    # What is committed is assembled while it is compiled again: both take a core.
    with concurrent.futures.ThreadPoolExecutor(1) as assembler:
        spills = assembler.submit(unknown_spills)
        problems = stale_outputs(nvrtc)
        report(problems or spills.result())
    print(f"{len(families())} families are what their sources compile to, and assemble without unknown spills")


def stale_outputs(nvrtc: Nvrtc) -> list[str]:
    """What is committed and is not what the sources compile to."""
    problems = []
    for source in families():
        path = target(source)
        if not path.is_file() or path.read_text(encoding="utf-8") != ptx_of(nvrtc, source):
            problems.append(f"{path.name} is not what {source.name} compiles to: run src/main/cuda/compile.py, commit")
    for stale in set(OUTPUT.glob("*.ptx")) - {target(source) for source in families()}:
        problems.append(f"{stale.name} has no source: run src/main/cuda/compile.py, commit")
    return problems


def table() -> None:
    print(f"{'kernel':24} {'architecture':12} {'registers':>9} {'shared':>7} {'stack':>6} {'spills':>6}")
    for row in sorted(assemble_all(), key=lambda row: (row["family"], row["kernel"], row["architecture"])):
        print(
            f"{row['kernel']:24} {row['architecture']:12} {row['registers']:9} {row['shared']:7}"
            f" {row['stack']:6} {row['spills']:6}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    try:
        find_compilers()
        if arguments.check:
            check()
        elif arguments.table:
            table()
        else:
            write()
    except CompileError as error:
        print(f"compile.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
