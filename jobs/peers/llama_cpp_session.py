"""llama.cpp by its C functions, so that no Python stands between its tokens.

Needs the package llama-cpp-python, the one that VERSION names: others differ in speed and functions.
"""

import ctypes
import os
import sys
import time

VERSION = "0.3.36"

try:
    import llama_cpp
except ImportError:
    sys.exit(
        f"{sys.executable} has no llama-cpp-python; run: {sys.executable} -m pip install llama-cpp-python=={VERSION}\n"
        "(it compiles llama.cpp for this machine, which needs cmake and a C++ compiler), or name a Python that has it"
    )

# Log lines below warnings would fill the screen; 3 is a warning, 4 an error.
_quiet = llama_cpp.llama_log_callback(
    lambda level, text, data: sys.stderr.write(text.decode("utf-8", "replace")) if level == 4 else None
)


class Session:
    """One model with one context of one sequence; f16 KV, which is llama.cpp's default."""

    def __init__(self, model_file, threads, context, batch=512):
        if not os.path.isfile(model_file):
            raise FileNotFoundError(f"there is no model file {model_file}")
        llama_cpp.llama_log_set(_quiet, None)
        llama_cpp.llama_backend_init()
        self.threads, self.batch, self.context_tokens = threads, batch, context
        self.context = None
        self.model = llama_cpp.llama_model_load_from_file(
            os.fsencode(model_file), llama_cpp.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {model_file}")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        if not self.context_tokens:
            self.context_tokens = llama_cpp.llama_model_n_ctx_train(self.model)
        self.sampler = llama_cpp.llama_sampler_init_greedy()

    def open_context(self, flash_attention):
        """A new, empty context; an earlier one is closed."""
        self._close_context()
        parameters = llama_cpp.llama_context_default_params()
        parameters.n_ctx = self.context_tokens
        parameters.n_batch = parameters.n_ubatch = self.batch
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.flash_attn_type = (
            llama_cpp.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attention else llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        self.context = llama_cpp.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError(f"llama.cpp could not make a context of {self.context_tokens} tokens")

    def tokenize(self, text, parse_special=False):
        data = text.encode("utf-8")
        room = len(data) + 8
        tokens = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocabulary, data, len(data), tokens, room, False, parse_special)
        if count < 0:
            raise RuntimeError(f"llama.cpp found {-count} tokens in a text of {len(data)} bytes, {room} were expected")
        return tokens[:count]

    def prefill(self, tokens):
        """Reads a prompt into the emptied context and returns the seconds it took and the next token."""
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), False)
        start = time.perf_counter()
        for first in range(0, len(tokens), self.batch):
            self._decode(tokens[first : first + self.batch])
        token = llama_cpp.llama_sampler_sample(self.sampler, self.context, -1)
        return time.perf_counter() - start, token

    def decode(self, token, count, stop_at_end=False):
        """Greedy tokens after a first one, with the seconds that they took."""
        tokens = [token]
        start = time.perf_counter()
        while len(tokens) <= count and not (stop_at_end and self.is_end(tokens[-1])):
            self._decode(tokens[-1:])
            tokens.append(llama_cpp.llama_sampler_sample(self.sampler, self.context, -1))
        return time.perf_counter() - start, tokens[1:]

    def text(self, tokens):
        """The text of tokens, without the special ones."""
        data = (llama_cpp.llama_token * len(tokens))(*tokens)
        room = 64 * len(tokens) + 64
        buffer = ctypes.create_string_buffer(room)
        count = llama_cpp.llama_detokenize(self.vocabulary, data, len(tokens), buffer, room, True, False)
        if count < 0:
            raise RuntimeError(f"llama.cpp needs {-count} bytes for the text of {len(tokens)} tokens, {room} were given")
        return buffer.raw[:count].decode("utf-8", "replace")

    def is_end(self, token):
        return llama_cpp.llama_vocab_is_eog(self.vocabulary, token)

    def chat_prompt(self, messages):
        """The model's own chat template around messages, or None where it has none."""
        template = llama_cpp.llama_model_chat_template(self.model, None)
        if not template:
            return None
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        def piece(token):
            return llama_cpp.llama_vocab_get_text(self.vocabulary, token).decode("utf-8") if token >= 0 else ""

        end = piece(llama_cpp.llama_vocab_eos(self.vocabulary))
        begin = piece(llama_cpp.llama_vocab_bos(self.vocabulary))
        return Jinja2ChatFormatter(template.decode("utf-8"), end, begin)(messages=messages).prompt

    def begin_tokens(self):
        """The token that begins a sequence, where the model file asks for it."""
        if not llama_cpp.llama_vocab_get_add_bos(self.vocabulary):
            return []
        return [llama_cpp.llama_vocab_bos(self.vocabulary)]

    def _decode(self, tokens):
        data = (llama_cpp.llama_token * len(tokens))(*tokens)
        code = llama_cpp.llama_decode(self.context, llama_cpp.llama_batch_get_one(data, len(tokens)))
        if code:
            raise RuntimeError(f"llama_decode failed with code {code} on {len(tokens)} tokens")

    def _close_context(self):
        if self.context:
            llama_cpp.llama_free(self.context)
            self.context = None

    def close(self):
        self._close_context()
        if self.model:
            llama_cpp.llama_model_free(self.model)
            self.model = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()


def description():
    """What was measured: package version, and the instructions that it was compiled for."""
    return {
        "engine": "llama.cpp",
        "version": f"llama-cpp-python {llama_cpp.__version__}",
        "build": " ".join(llama_cpp.llama_print_system_info().decode().split()),
    }
