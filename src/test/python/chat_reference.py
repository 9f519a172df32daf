"""Prompts of the templates in src/test/resources/chat by Python's jinja2, as transformers renders them.

Usage: python chat_reference.py CHAT_FOLDER OUTPUT.json   (needs jinja2)
"""

import json
import pathlib
import sys

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

CONVERSATIONS = [
    [("user", "Hello")],
    [("system", "Be kind."), ("user", "Hi there")],
    [("user", "One"), ("assistant", "Two"), ("user", "Three")],
    [("system", "  Spaces \n"), ("user", " \n padded \u00e9\u4e2d\U0001f600 \n"), ("assistant", "<think>\nhm\n</think>\n\nanswer"), ("user", "{{ 7 * 7 }} {% if %}")],
    [("user", "a < b & c > d \"quoted\" 'single' \\n")],
    [("assistant", "first"), ("user", "second")],
]


def refuse(message):
    raise jinja2.exceptions.TemplateError(message)


def main():
    folder, output = map(pathlib.Path, sys.argv[1:])
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.globals["raise_exception"] = refuse
    data = {"jinja2": jinja2.__version__, "cases": []}
    for path in sorted(folder.glob("*.jinja")):
        template = environment.from_string(path.read_text())
        for conversation in CONVERSATIONS:
            messages = [{"role": role, "content": content} for role, content in conversation]
            try:
                text = template.render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
            except jinja2.exceptions.TemplateError:
                text = None
            data["cases"].append({"template": path.name, "messages": messages, "text": text})
    output.write_text(json.dumps(data, indent=1) + "\n")
    print(len(data["cases"]), "cases")


if __name__ == "__main__":
    main()
