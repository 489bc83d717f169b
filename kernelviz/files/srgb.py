"""Convert images of Pillow's 8-bit modes to opaque sRGB: alpha, palettes, inks and colour profiles.

Strips of rows are converted one by one, so that no step needs a second copy of the image.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image as Pillow

from kernelviz.errors import BadImageError
from kernelviz.files.measured import ON_WHITE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kernelviz.records import Array


_STRIP = 1 << 20  # pixels converted at a time
_COLOURS = {  # the mode to which each mode is converted first
    "1": "L",
    "L": "L",
    "LA": "LA",
    "La": "LA",
    "P": "RGB",
    "PA": "RGBA",
    "RGB": "RGB",
    "RGBX": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "CMYK": "CMYK",
    "YCbCr": "RGB",
    "HSV": "RGB",
    "LAB": "RGB",
}
_UNREADABLE_PROFILE = "its colour profile cannot be used and was ignored"
_SAME = 2  # levels by which an identity transform may move a colour, by rounding


def to_srgb(picture: Pillow.Image) -> tuple[Array, list[str]]:
    """Convert an image to pixels, uint8 (H, W, 3), with notes of the conversions.

    Raises:
        BadImageError: the colour mode is not supported.
    """
    notes: list[str] = []
    mode = _COLOURS.get(picture.mode)
    if mode is None:
        raise BadImageError(f"The colour mode {picture.mode} of the image is not supported.")
    if picture.has_transparency_data and not mode.endswith("A"):
        mode = _with_transparency(picture, mode, notes)
    to_rgb = _profile_transform(picture, mode.removesuffix("A"), notes)
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    transparent = False
    for top, strip in _strips(picture):
        colours, alpha = _parts(strip, mode)
        rgb = np.asarray(to_rgb(colours))
        if alpha is not None and alpha.min(initial=255) < 255:
            transparent = True
            rgb = _over_white(rgb, alpha)
        pixels[top : top + len(rgb)] = rgb
    if transparent:
        notes.append(ON_WHITE)
    return pixels, notes


def _strips(picture: Pillow.Image) -> Iterator[tuple[int, Pillow.Image]]:
    """The strips of the picture from top to bottom, with their first rows."""
    rows = max(1, _STRIP // picture.width)
    if rows >= picture.height:
        yield 0, picture
        return
    for top in range(0, picture.height, rows):
        yield top, picture.crop((0, top, picture.width, min(top + rows, picture.height)))


def _parts(strip: Pillow.Image, mode: str) -> tuple[Pillow.Image, Array | None]:
    """Separate colours and alpha."""
    whole = strip if strip.mode == mode else strip.convert(mode)
    if mode == "LA":
        return whole.getchannel("L"), np.asarray(whole.getchannel("A"))
    if mode == "RGBA":
        return whole.convert("RGB"), np.asarray(whole.getchannel("A"))
    return whole, None


def _over_white(rgb: Array, alpha: Array) -> Array:
    """``alpha * colour + (1 - alpha) * white``, rounded."""
    opacity = alpha[..., None].astype(np.uint32)
    result: Array = ((rgb * opacity + 255 * (255 - opacity) + 127) // 255).astype(np.uint8)
    return result


def _with_transparency(picture: Pillow.Image, mode: str, notes: list[str]) -> str:
    """The mode in which a transparent colour becomes alpha; a 16-bit colour is ignored if the pixels have eight bits."""
    key = picture.info.get("transparency", 0)
    if isinstance(key, int | tuple) and max(key if isinstance(key, tuple) else (key,)) > 255:
        notes.append("its transparent colour, given in 16 bits, was not applied")
        return mode
    return "RGBA"


def has_effective_profile(picture: Pillow.Image) -> bool:
    """Whether the picture has a valid colour profile that changes its colours."""
    data = picture.info.get("icc_profile")
    if not data:
        return False
    try:
        mode = _COLOURS.get(picture.mode, "L").removesuffix("A")
        return _read_profile(data, mode)[0] is not None
    except Exception:  # noqa: BLE001 - a bad profile raises any exception
        return False


def _profile_transform(picture: Pillow.Image, mode: str, notes: list[str]) -> Callable[[Pillow.Image], Pillow.Image]:
    """The conversion of a strip to sRGB, by the profile of the picture if it has a valid one."""
    data = picture.info.get("icc_profile")
    if data:
        try:
            transform, name = _read_profile(data, mode)
        except Exception:  # noqa: BLE001 - a bad profile raises what it likes, and the picture is still a picture
            notes.append(_UNREADABLE_PROFILE)
        else:
            if transform is None:
                return _plain
            notes.append(f"colours were converted to sRGB from the profile {name!r}")
            return transform
    if mode == "CMYK":
        notes.append("CMYK without a profile became RGB by (1 − ink)(1 − black)")
    return _plain


def _plain(strip: Pillow.Image) -> Pillow.Image:
    return strip if strip.mode == "RGB" else strip.convert("RGB")


def _read_profile(data: bytes, mode: str) -> tuple[Callable[[Pillow.Image], Pillow.Image] | None, str]:
    """The transform of an ICC profile to sRGB, None for the identity, and the name of the profile."""
    from PIL import ImageCms

    profile: Any = ImageCms.ImageCmsProfile(io.BytesIO(data))
    space = profile.profile.xcolor_space.strip()
    if mode == "L" and space == "RGB":
        before = "RGB"
    elif space == {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}[mode]:
        before = mode
    else:
        raise ValueError(space)
    transform = ImageCms.buildTransform(
        profile, ImageCms.createProfile("sRGB"), before, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
    )

    def apply(strip: Pillow.Image) -> Pillow.Image:
        result = ImageCms.applyTransform(strip if strip.mode == before else strip.convert(before), transform)
        assert result is not None  # noqa: S101  (it is None only if it works in place)
        return result

    name = " ".join("".join(filter(str.isprintable, ImageCms.getProfileDescription(profile))).split())[:60]
    return (None if before != "CMYK" and _moves_nothing(apply, before) else apply), name


def _moves_nothing(apply: Callable[[Pillow.Image], Pillow.Image], mode: str) -> bool:
    """Whether a transform keeps a grid of colours of the whole cube."""
    steps = np.linspace(0, 255, 17).astype(np.uint8)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(17, -1, 3)
    sample = Pillow.fromarray(cube if mode == "RGB" else cube[..., 0].copy())
    moved = np.abs(np.asarray(apply(sample)).astype(int) - np.asarray(sample.convert("RGB")))
    return int(moved.max()) <= _SAME
