"""llama.cpp's C functions, from one of two builds: that of llama-cpp-python or that of npm.

Both have the same functions and structures, so that llama-cpp-python's declarations serve for both;
a build of another llama.cpp is refused.
"""

import ctypes
import glob
import json
import os
import pathlib
import sys

PYTHON_VERSION = "0.3.36"
NODE_VERSION = "3.22.1"

try:
    import llama_cpp
except ImportError:
    sys.exit(
        f"{sys.executable} has no llama-cpp-python; run: {sys.executable} -m pip install llama-cpp-python=={PYTHON_VERSION}\n"
        "(it compiles llama.cpp for this machine, which needs cmake and a C++ compiler), or name a Python that has it"
    )


class _ThreadPoolParameters(ctypes.Structure):
    """ggml_threadpool_params; made by ggml itself, so that only its size matters here."""

    _fields_ = [("data", ctypes.c_ubyte * 544)]


class PythonLibrary:
    """The build inside llama-cpp-python: compiled on this machine, threads by OpenMP."""

    name = f"llama-cpp-python {llama_cpp.__version__}"

    def __getattr__(self, function):
        return getattr(llama_cpp, function)

    def load_kernels(self):
        """They are linked in."""

    def attach_threads(self, context, threads):
        """OpenMP's threads stay by themselves."""


class NodeLibrary:
    """The build inside npm's @node-llama-cpp/linux-x64, which picks its kernels by the processor."""

    def __init__(self, package):
        package = pathlib.Path(package)
        try:
            version = json.loads((package / "package.json").read_text(encoding="utf-8"))["version"]
        except OSError:
            sys.exit(
                f"{package} is not the folder of npm's @node-llama-cpp/linux-x64; "
                f"run: npm install @node-llama-cpp/linux-x64@{NODE_VERSION}"
            )
        self.name = f"@node-llama-cpp/linux-x64 {version}"
        bins = package / "bins" / "linux-x64"
        release = json.loads((bins / "_nlcBuildMetadata.json").read_text())["buildOptions"]["llamaCpp"]["release"]
        if release != f"v{_python_release()}":
            sys.exit(
                f"{package} has llama.cpp {release}, llama-cpp-python has v{_python_release()}: their structures may differ; "
                f"use llama-cpp-python {PYTHON_VERSION} and @node-llama-cpp/linux-x64 {NODE_VERSION}"
            )
        self._llama = ctypes.CDLL(str(bins / f"libllama.{release}.so"))
        self._ggml = ctypes.CDLL(str(bins / f"libggml.{release}.so"))
        self._base = ctypes.CDLL(str(bins / "libggml-base.so"))
        self._bins = bins
        self._pools = {}

    def load_kernels(self):
        """Picks the kernels that fit the processor."""
        self._ggml.ggml_backend_load_all_from_path(os.fsencode(self._bins))

    def __getattr__(self, name):
        declared = getattr(llama_cpp, name)
        if not isinstance(declared, ctypes._CFuncPtr):
            return declared
        function = getattr(self._llama, name)
        function.argtypes, function.restype = declared.argtypes, declared.restype
        setattr(self, name, function)
        return function

    def attach_threads(self, context, threads):
        """Threads that stay: without them this build starts new ones for every token."""
        pool = self._pools.get(threads)
        if not pool:
            pool = self._pools[threads] = self._thread_pool(threads)
        attach = self._llama.llama_attach_threadpool
        attach.argtypes = [ctypes.c_void_p] * 3
        attach(context, pool, pool)

    def _thread_pool(self, threads):
        registry_of_name = self._ggml.ggml_backend_reg_by_name
        registry_of_name.argtypes, registry_of_name.restype = [ctypes.c_char_p], ctypes.c_void_p
        address_of = self._base.ggml_backend_reg_get_proc_address
        address_of.argtypes, address_of.restype = [ctypes.c_void_p, ctypes.c_char_p], ctypes.c_void_p
        defaults = self._base.ggml_threadpool_params_default
        defaults.restype = _ThreadPoolParameters
        parameters = defaults(threads)
        address = address_of(registry_of_name(b"CPU"), b"ggml_threadpool_new")
        create = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.POINTER(_ThreadPoolParameters))(address)
        return create(ctypes.byref(parameters))


def _python_release():
    files = glob.glob(os.path.join(os.path.dirname(llama_cpp.__file__), "lib", "libllama.so.*.*.*"))
    return files[0].rsplit(".so.", 1)[1] if files else "unknown"


def open_library(node_package=None):
    """llama-cpp-python's own build or, where its folder is given, that of the npm package."""
    return NodeLibrary(node_package) if node_package else PythonLibrary()
