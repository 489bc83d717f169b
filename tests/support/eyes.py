"""What a colour looks like to four eyes, and how far two colours are apart.

The dichromatic eyes are simulated after Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of
color vision deficiency" (IEEE Transactions on Visualization and Computer Graphics 15(6), 2009), with the matrices of
severity 1.0 that the authors publish at https://www.inf.ufrgs.br/~oliveira/pubs_files/CVD_Simulation/CVD_Simulation.html.
They apply to linear RGB. Distances are those of CIE 1976: Euclidean in L*a*b*, of the white point D65.
"""

from __future__ import annotations

import numpy as np

EYES = {
    "normal": np.eye(3),
    "protan": np.array([
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998],
    ]),
    "deutan": np.array([
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881],
    ]),
    "tritan": np.array([
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900],
    ]),
}  # fmt: skip

# IEC 61966-2-1: linear sRGB to XYZ of D65
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colours):
    """Linear RGB from 0 to 1 of sRGB colours (…, 3) from 0 to 255."""
    shares = np.asarray(colours, np.float64) / 255
    return np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)


def lab(linear_rgb):
    """L*, a*, b* of linear RGB (…, 3)."""
    shares = linear_rgb @ TO_XYZ.T / TO_XYZ.sum(axis=1)
    roots = np.where(shares > (6 / 29) ** 3, np.cbrt(shares), shares * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def seen(colours, eye):
    """The linear RGB that a normal eye needs to see sRGB colours (…, 3) as this eye does."""
    return np.clip(linear(colours) @ EYES[eye].T, 0, 1)


def as_seen(colours, eye):
    """The same as sRGB colours, uint8: a picture to look at."""
    shares = seen(colours, eye)
    shares = np.where(shares <= 0.0031308, 12.92 * shares, 1.055 * shares ** (1 / 2.4) - 0.055)
    return np.asarray(np.rint(255 * shares), np.uint8)


def apart(one, other, eye):
    """The distance ΔE of two sRGB colours, or of colours pair by pair, to an eye."""
    return np.linalg.norm(lab(seen(one, eye)) - lab(seen(other, eye)), axis=-1)


def for_every_eye(one, other):
    """The distances to the four eyes."""
    return [float(apart(one, other, eye)) for eye in EYES]
