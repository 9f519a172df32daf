"""llama.cpp by its C functions, so that no Python stands between its tokens.

Which build of llama.cpp they come from is llama_cpp_library's matter.
"""

import ctypes
import os
import sys
import time

from llama_cpp_library import open_library


def _print_errors(level, text, data):
    """Log lines below errors (4) would fill the screen."""
    if level == 4:
        sys.stderr.write(text.decode("utf-8", "replace"))


class Session:
    """One model with one context of one or several sequences; f16 KV, which is llama.cpp's default."""

    def __init__(self, model_file, threads, context, batch=512, sequences=1, library=None):
        if not os.path.isfile(model_file):
            raise FileNotFoundError(f"there is no model file {model_file}")
        self.library = llama_cpp = library or open_library()
        self._log = llama_cpp.llama_log_callback(_print_errors)
        llama_cpp.llama_log_set(self._log, None)
        llama_cpp.load_kernels()
        llama_cpp.llama_backend_init()
        self.threads, self.batch, self.context_tokens, self.sequences = threads, batch, context, sequences
        self.context = None
        self.pieces = {}
        self.model = llama_cpp.llama_model_load_from_file(
            os.fsencode(model_file), llama_cpp.llama_model_default_params()
        )
        if not self.model:
            raise RuntimeError(f"llama.cpp could not load {model_file}")
        self.vocabulary = llama_cpp.llama_model_get_vocab(self.model)
        if not self.context_tokens:
            self.context_tokens = llama_cpp.llama_model_n_ctx_train(self.model)
        self.sampler = llama_cpp.llama_sampler_init_greedy()
        self.rows = llama_cpp.llama_batch_init(batch, 0, 1)

    def open_context(self, flash_attention):
        """A new, empty context; an earlier one is closed."""
        self._close_context()
        parameters = self.library.llama_context_default_params()
        parameters.n_ctx = self.context_tokens * self.sequences
        parameters.n_seq_max = self.sequences
        parameters.n_batch = parameters.n_ubatch = self.batch
        parameters.n_threads = parameters.n_threads_batch = self.threads
        parameters.flash_attn_type = (
            self.library.LLAMA_FLASH_ATTN_TYPE_ENABLED if flash_attention else self.library.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        self.context = self.library.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise RuntimeError(f"llama.cpp could not make {self.sequences} contexts of {self.context_tokens} tokens")
        self.library.attach_threads(self.context, self.threads)

    def tokenize(self, text, parse_special=False):
        data = text.encode("utf-8")
        room = len(data) + 8
        tokens = (self.library.llama_token * room)()
        count = self.library.llama_tokenize(self.vocabulary, data, len(data), tokens, room, False, parse_special)
        if count < 0:
            raise RuntimeError(f"llama.cpp found {-count} tokens in a text of {len(data)} bytes, {room} were expected")
        return tokens[:count]

    def prefill(self, tokens, sequence=0):
        """Reads a prompt into the emptied sequence and returns the seconds it took and the next token."""
        self.library.llama_memory_seq_rm(self.library.llama_get_memory(self.context), sequence, -1, -1)
        start = time.perf_counter()
        for first in range(0, len(tokens), self.batch):
            chunk = tokens[first : first + self.batch]
            if self.sequences == 1:
                self._decode_next(chunk)
            else:
                ends = len(tokens) - 1 - first
                self._decode_rows([(token, first + i, sequence, i == ends) for i, token in enumerate(chunk)])
        token = self.library.llama_sampler_sample(self.sampler, self.context, -1)
        return time.perf_counter() - start, token

    def decode(self, token, count, stop_at_end=False):
        """Greedy tokens after a first one of the only sequence, with the seconds that they took."""
        tokens = [token]
        start = time.perf_counter()
        while len(tokens) <= count and not (stop_at_end and self.is_end(tokens[-1])):
            self._decode_next(tokens[-1:])
            tokens.append(self.library.llama_sampler_sample(self.sampler, self.context, -1))
        return time.perf_counter() - start, tokens[1:]

    def decode_together(self, tokens, position, count):
        """Greedy tokens of all sequences, which are equally long; returns the seconds of count steps."""
        start = time.perf_counter()
        for step in range(count):
            self._decode_rows([(token, position + step, sequence, True) for sequence, token in enumerate(tokens)])
            tokens = [self.library.llama_sampler_sample(self.sampler, self.context, i) for i in range(len(tokens))]
        return time.perf_counter() - start

    def text(self, tokens):
        """The text of tokens, without the special ones."""
        data = (self.library.llama_token * len(tokens))(*tokens)
        room = 64 * len(tokens) + 64
        buffer = ctypes.create_string_buffer(room)
        count = self.library.llama_detokenize(self.vocabulary, data, len(tokens), buffer, room, True, False)
        if count < 0:
            raise RuntimeError(f"llama.cpp needs {-count} bytes for the text of {len(tokens)} tokens, {room} were given")
        return buffer.raw[:count].decode("utf-8", "replace")

    def piece(self, token):
        """The bytes of a token."""
        if token not in self.pieces:
            buffer = ctypes.create_string_buffer(256)
            count = self.library.llama_token_to_piece(self.vocabulary, token, buffer, len(buffer), 0, False)
            if count < 0:
                raise RuntimeError(f"token {token} has {-count} bytes, {len(buffer)} were expected")
            self.pieces[token] = buffer.raw[:count]
        return self.pieces[token]

    def is_end(self, token):
        return self.library.llama_vocab_is_eog(self.vocabulary, token)

    def chat_prompt(self, messages):
        """The model's own chat template around messages, or None where it has none."""
        template = self.library.llama_model_chat_template(self.model, None)
        if not template:
            return None
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        def piece(token):
            return self.library.llama_vocab_get_text(self.vocabulary, token).decode("utf-8") if token >= 0 else ""

        end = piece(self.library.llama_vocab_eos(self.vocabulary))
        begin = piece(self.library.llama_vocab_bos(self.vocabulary))
        return Jinja2ChatFormatter(template.decode("utf-8"), end, begin)(messages=messages).prompt

    def begin_tokens(self):
        """The token that begins a sequence, where the model file asks for it."""
        if not self.library.llama_vocab_get_add_bos(self.vocabulary):
            return []
        return [self.library.llama_vocab_bos(self.vocabulary)]

    def _decode_next(self, tokens):
        """A pass over the next tokens of the only sequence; the last one's logits are kept."""
        data = (self.library.llama_token * len(tokens))(*tokens)
        self._decode(self.library.llama_batch_get_one(data, len(tokens)))

    def _decode_rows(self, rows):
        """A pass over rows of (token, position, sequence, whether its logits are kept)."""
        batch = self.rows
        batch.n_tokens = len(rows)
        for i, (token, position, sequence, kept) in enumerate(rows):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, kept
            batch.n_seq_id[i] = 1
            batch.seq_id[i][0] = sequence
        self._decode(batch)

    def _decode(self, batch):
        code = self.library.llama_decode(self.context, batch)
        if code:
            raise RuntimeError(f"llama_decode failed with code {code} on {batch.n_tokens} tokens")

    def _close_context(self):
        if self.context:
            self.library.llama_free(self.context)
            self.context = None

    def close(self):
        self._close_context()
        if self.model:
            self.library.llama_model_free(self.model)
            self.model = None

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def description(self):
        """What is measured: the package's version, and the instructions that are used."""
        build = " ".join(self.library.llama_print_system_info().decode().split())
        return {"engine": "llama.cpp", "version": self.library.name, "build": build}
