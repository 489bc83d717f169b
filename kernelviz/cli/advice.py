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
WITH_IMAGE = ("features", "report", "shift", "patches", "field", "expand")
"""The commands whose arguments are MODEL IMAGE, or MODEL IMAGE…; all others take no image, or no model."""
_IMAGE_NAME = re.compile(r"(?:png|jpe?g|webp|bmp|gif|tiff?|ppm|npy)", re.IGNORECASE)
_MISSING = re.compile(r"Missing argument '(MODEL|IMAGE)(?:\.\.\.)?'")
_UNKNOWN = re.compile(r"No such command '(.*?)'\.(?: Did you mean .*)?$", re.DOTALL)
_EXTRA = re.compile(r"unexpected extra argument(?:\(s\)|s)? \((.*)\)$", re.DOTALL)
_MODEL_NAME = re.compile(
    r"(?:torchvision|hf-hub|local-dir):.+|.+\.py:\w+|(?=.*[\d_]|.*net$)[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)?", re.DOTALL
)
_LAYER_NAME = re.compile(r"(?:conv|layer|block|stage|stem|feature|down|up|enc|dec).*|.*[.*].*", re.DOTALL)
_SIDES = re.compile(r"\d+(?:[x×]\d+)?")
_LEARNED = re.compile(r".+:.+:\d+")
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
    if extra := _EXTRA.search(message):
        return _as_options(words, extra[1].split())
    unknown = _UNKNOWN.search(message)
    if not unknown or not words or words[0] != unknown[1]:
        return ""
    typed = _meant_by(unknown[1], words[1:])
    return f"Type `kernelviz {typed}`." if typed else ""


def _meant_by(word: str, more: Sequence[str]) -> str:
    """The command that was meant by a word that is none, with ``more`` words after it; empty if it is not clear."""
    images = [shlex.quote(each) for each in more if is_image_name(each)]
    if "(" in word:
        return f"explain {shlex.quote(word)}"
    if is_image_name(word):
        return f"features {MODEL} {shlex.quote(word)}"
    if word.lower() in _DRAWING:
        model = shlex.quote(next((each for each in more if not is_image_name(each)), MODEL))
        return f"kernels {model}` or `kernelviz features {model} {[*images, IMAGE][0]}"
    plural = f"{word.lower()}s"
    if plural in ("kernels", "features", "layers", "models") and more:
        return f"{plural} {shlex.join(more)}"
    meant = _MEANT.get(word.lower(), _MEANT_ALONE.get(word.lower(), ""))
    if not meant and _MODEL_NAME.fullmatch(word):
        meant = f"features {shlex.quote(word)} {images[0]}" if images else f"kernels {shlex.quote(word)}"
    return meant


def _as_options(words: Sequence[str], extra: Sequence[str]) -> str:
    """The command with the ``extra`` arguments as the options that they look like; empty if they look like none."""
    command, given = words[0], words[1:]
    images = [shlex.quote(word) for word in given if is_image_name(word)]
    others = [shlex.quote(word) for word in given if not is_image_name(word)]
    typed = ""
    if command == "filter":
        typed = _filter_command(given)
    elif command in ("kernels", "match", "layers") and others:
        if images:
            typed = f"features {others[0]} {images[0]}"
        elif command != "layers" and _LAYER_NAME.fullmatch(extra[0]):
            typed = f"{command} {others[0]} --layer {shlex.quote(extra[0])}"
    elif command == "explain" and given:
        typed = _explain_command(given, extra)
    return f"Type `kernelviz {typed}`." if typed else ""


def _explain_command(given: Sequence[str], extra: Sequence[str]) -> str:
    """``explain conv --input 5 --kernel 3`` of ``explain conv 5 3``; empty if the arguments are no sizes and no image."""
    names = {"sharing": ("--units", "--kernel"), "layer": ("--image",)}.get(given[0], ("--input", "--kernel"))
    if len(extra) > len(names) or not all(_SIDES.fullmatch(word) or is_image_name(word) for word in extra):
        return ""
    before = [shlex.quote(word) for word in given if word not in extra]
    options = [f"{name} {shlex.quote(word)}" for name, word in zip(names, extra, strict=False)]
    return " ".join(["explain", *before, *options])


def _filter_command(words: Sequence[str]) -> str:
    """``filter photo.jpg --kernel sobel-x`` of the arguments in any order; empty if none of them is a filter."""
    from kernelviz.filters.bank import find_filters

    def is_filter(word: str) -> bool:
        try:
            return bool(find_filters(word))
        except UsageError:
            return False

    parts = [part for word in words if not is_image_name(word) for part in word.split(",") if part]
    named = ",".join(shlex.quote(part) for part in parts if is_filter(part))
    learned = [f" --from {shlex.quote(part)}" for part in parts if _LEARNED.fullmatch(part)]
    image = shlex.quote(next(filter(is_image_name, words), IMAGE))
    options = (f" --kernel {named}" if named else "") + "".join(learned)
    return f"filter {image}{options}" if options else ""


def filter_as_image(name: str) -> UsageError | None:
    """The error of ``filter`` whose image is the name of a filter; None if it is not."""
    typed = "" if is_image_name(name) or os.path.exists(name) else _filter_command([name])  # noqa: PTH110  (every word)
    if not typed:
        return None
    return UsageError(f"An image is missing: {shown(name)} is a filter.", hint=f"Type `kernelviz {typed}`.")


def check_order(command: str, model: str, images: Sequence[str]) -> None:
    """Reject an image before the model.

    Raises:
        UsageError: the model is the name of an image, and one of the images is not.
    """
    others = [word for word in images if not is_image_name(word)]
    if is_image_name(model) and len(others) == 1:
        typed = shlex.join([others[0], model, *(word for word in images if word != others[0])])
        raise UsageError("The model comes before the images.", hint=f"Type `kernelviz {command} {typed}`.")


def _with_examples(words: Sequence[str], missing: str) -> str:
    """The command with what it lacks; ``words`` are the command and its arguments."""
    count = 2 if words[0] == "explain" else 1
    command, given = " ".join(words[:count]), words[count:]
    see = f"see `kernelviz {command} --help`."
    if missing == "IMAGE" and given:
        if is_image_name(given[0]):
            return f"Type `{with_model(command, given[0])}`; {see}"
        return f"Type `kernelviz {command} {shlex.quote(given[0])} {IMAGE}`; {see}"
    if command == "explain image":
        return f"Type `kernelviz {command} {IMAGE}`; {see}"
    if missing == "MODEL" and command in ("kernels", "match", "layers", *WITH_IMAGE):
        return f"Type `{with_model(command, IMAGE)}`; {see}"
    return ""


def unknown_image(command: str | None, name: str) -> UsageError | None:
    """The error of a command whose model is the name of an image; None if it is not."""
    if not is_image_name(name):
        return None
    what = f"A model is missing: {shown(name)} is the name of an image."
    return UsageError(what, hint=f"Type `{with_model(command or 'features', name)}`.")


def with_model(command: str, image: str) -> str:
    """A command for an example model and, if it takes one, this image."""
    return f"kernelviz {command} {MODEL}" + (f" {shlex.quote(image)}" if command in WITH_IMAGE else "")


def is_image_name(word: str) -> bool:
    """Whether a word can only be the name of an image: by its suffix, or a sample."""
    _, dot, suffix = os.path.basename(word).rpartition(".")  # noqa: PTH119  (takes every word)
    is_image = bool(dot) and _IMAGE_NAME.fullmatch(suffix) is not None
    return word.startswith("sample:") or (is_image and not word.startswith(("hf-hub:", "local-dir:")))
