"""What to type instead, if the command line is wrong in a way that shows what was meant."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from kernelviz.errors import UsageError
from kernelviz.wording import shown

if TYPE_CHECKING:
    from collections.abc import Sequence


MODEL, IMAGE = "tf_efficientnet_lite0", "sample:grace_hopper"  # of examples; both need no network
_IMAGE_NAME = re.compile(r"(?:png|jpe?g|webp|bmp|gif|tiff?|ppm|npy)", re.IGNORECASE)
_MISSING = re.compile(r"Missing argument '(MODEL|IMAGE)'")
_UNKNOWN = re.compile(r"No such command '(.*?)'\.(?: Did you mean .*)?$", re.DOTALL)
_MEANT = {
    "conv": "explain conv", "conv2d": "explain conv", "convolution": "explain conv", "convolve": "explain conv",
    "transpose": "explain transpose", "deconv": "explain transpose", "pool": "explain pool", "pooling": "explain pool",
    "layer": f"layers {MODEL}", "weights": f"kernels {MODEL}", "activations": f"features {MODEL} {IMAGE}",
    "maps": f"features {MODEL} {IMAGE}", "filters": "filter --list", "list": "models", "version": "--version",
    "help": "--help", "overview": f"features {MODEL} {IMAGE}",
}  # fmt: skip
"""What the words that people try first are called here."""
_MEANT_ALONE = {"kernel": f"kernels {MODEL}", "feature": f"features {MODEL} {IMAGE}", "model": "models"}

_DRAWING = frozenset(
    {"visualize", "visualise", "visual", "view", "vis", "viz", "draw", "plot", "show", "display", "see"}
)


def advice_for(arguments: Sequence[str], message: str) -> str:
    """What to type, for these arguments and the message of the parser; empty if only the help can tell."""
    words = [word for word in arguments if not word.startswith("-")]
    if missing := _MISSING.search(message):
        return _with_examples(words, missing[1])
    unknown = _UNKNOWN.search(message)
    if not unknown or not words or words[0] != unknown[1]:
        return ""
    word, more = unknown[1], words[1:]
    if "(" in word:
        return f"Type `kernelviz explain {shlex.quote(word)}`."
    if is_image_name(word):
        return f"Type `kernelviz features {MODEL} {shlex.quote(word)}`."
    if word.lower() in _DRAWING:
        model = shlex.quote(next((each for each in more if not is_image_name(each)), MODEL))
        image = shlex.quote(next(filter(is_image_name, more), IMAGE))
        return f"Type `kernelviz kernels {model}` or `kernelviz features {model} {image}`."
    meant = _MEANT.get(word.lower(), _MEANT_ALONE.get(word.lower()))
    if f"{word.lower()}s" in ("kernels", "features", "layers", "models") and more:
        meant = f"{word.lower()}s {shlex.join(more)}"
    return f"Type `kernelviz {meant}`." if meant else ""


def _with_examples(words: Sequence[str], missing: str) -> str:
    """The command with what it lacks; ``words`` are the command and its arguments."""
    command, given = " ".join(words[:2] if words[0] == "explain" else words[:1]), words[1:]
    see = f"see `kernelviz {command} --help`."
    if missing == "IMAGE" and given:
        if is_image_name(given[0]):
            return f"Type `{with_model(command, given[0])}`; {see}"
        return f"Type `kernelviz {command} {shlex.quote(given[0])} {IMAGE}`; {see}"
    if missing == "MODEL" and command in ("kernels", "features", "match", "layers"):
        return f"Type `kernelviz {command} {MODEL}{f' {IMAGE}' if command == 'features' else ''}`; {see}"
    return ""


def unknown_image(command: str | None, name: str) -> UsageError | None:
    """The error of a command whose model is the name of an image; None if it is not."""
    if not is_image_name(name):
        return None
    what = f"A model is missing: {shown(name)} is the name of an image."
    return UsageError(what, hint=f"Type `{with_model(command or 'features', name)}`.")


def with_model(command: str, image: str) -> str:
    """The command of features for an image, or of another one without it."""
    return f"kernelviz {command} {MODEL}" + (f" {shlex.quote(image)}" if command == "features" else "")


def is_image_name(word: str) -> bool:
    """Whether a word can only be the name of an image: by its suffix, or a sample."""
    _, dot, suffix = os.path.basename(word).rpartition(".")  # noqa: PTH119  (takes every word)
    is_image = bool(dot) and _IMAGE_NAME.fullmatch(suffix) is not None
    return word.startswith("sample:") or (is_image and not word.startswith(("hf-hub:", "local-dir:")))
