import io

import numpy as np
import pytest
from PIL import Image
from sample_images import RGB, encoded

from kernelviz.errors import BadImageError
from kernelviz.files.images import read_image


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG"])
def test_every_format_is_read(kind):
    """Each format is read as by Pillow, independently of the file name."""
    data = encoded(RGB, kind, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(io.BytesIO(data)) as picture:
        reference = np.asarray(picture.convert("RGB"))
    image = read_image(data)
    assert np.array_equal(image.pixels, reference)
    assert image.format == kind


OTHERS = {
    "PDF": b"%PDF-1.7\n%\xe2\xe3\n",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "SVG": b'<?xml version="1.0"?>\n<!-- x -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "AVIF": b"\0\0\0\x18ftypavif\0\0\0\0mif1",
    "video": b"\0\0\0\x18ftypisom\0\0\2\0",
    "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n",
    "JPEG XL": b"\xff\x0a\x00",
    "raw": b"II*\0\x10\0\0\0CR\2\0",
    "Photoshop": b"8BPS\0\1",
    "icon": b"\0\0\1\0\1\0",
    "HTML": b"<!DOCTYPE html><html>",
    "DICOM": bytes(128) + b"DICM\2\0",
    "zip": b"PK\3\4",
    "text": "not an image, äöü\n".encode(),
    "unknown": bytes(range(1, 255)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_formats_are_named(name, tmp_path, monkeypatch):
    """Unsupported formats are named in the message, independently of the file name, and no program is started."""

    def never(*_, **__):
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", never)
    monkeypatch.setattr("os.system", never)
    path = tmp_path / "picture.png"
    path.write_bytes(OTHERS[name])
    with pytest.raises(BadImageError) as caught:
        read_image(path)
    assert name.lower() in str(caught.value).lower()
    assert "PNG, JPEG" in caught.value.why


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\0\x05\0\x0a\0\0\0ISO_IR 100",  # the type of the value is implied
        b"\x08\0\x05\0CS\x0a\0ISO_IR 100",
        b"\x02\0\0\0UL\4\0\xbe\0\0\0",
        b"DICM\x02\0\0\0UL\4\0\xbe\0\0\0",
    ],
)
def test_dicom_without_its_preamble_is_named(data):
    """Old files begin with their first element."""
    with pytest.raises(BadImageError, match="a DICOM file"):
        read_image(data)


def test_real_svg_pdf_and_eps_are_named(tmp_path):
    """Documents written by matplotlib are rejected by the name of their format."""
    from matplotlib.figure import Figure

    for suffix, word in (("svg", "SVG"), ("pdf", "PDF"), ("eps", "EPS")):
        path = tmp_path / f"figure.{suffix}"
        Figure().savefig(path)
        with pytest.raises(BadImageError, match=word):
            read_image(path)
