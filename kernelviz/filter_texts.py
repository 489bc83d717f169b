"""What each classical filter is for, and where its numbers come from."""

from __future__ import annotations

_BOOK = "Gonzalez and Woods, Digital Image Processing"
SOURCES = {
    "identity": "by definition",
    "box": f"the mean; {_BOOK}",
    "gaussian": "the normal distribution, sigma = 0.3 ((n - 1) / 2 - 1) + 0.8 as in OpenCV's getGaussianKernel",
    "laplacian": f"second differences over 8 neighbours; {_BOOK}",
    "laplacian-4": f"second differences over 4 neighbours; {_BOOK}",
    "sharpen": f"the pixel plus laplacian-4; {_BOOK}",
    "log": "Marr and Hildreth 1980, Theory of edge detection; its mean is taken off",
    "dog": "Marr and Hildreth 1980: a Gaussian minus one 1.6 times as wide; its mean is taken off",
    "log-wide": "as log, as wide as the Gaussian of this size",
    "dog-wide": "as dog, as wide as the Gaussian of this size",
    "sobel": "Sobel and Feldman 1968; beyond 3 x 3 binomial, as in OpenCV's getDerivKernels",
    "scharr": "Scharr 2000, Optimal operators in digital image processing: 3, 10, 3",
    "prewitt": "Prewitt 1970, Object enhancement and extraction: the least-squares plane",
    "difference": "by definition",
    "central": "by definition",
    "roberts": "Roberts 1963, Machine perception of three-dimensional solids",
    "line": f"one on the line, zero mean; {_BOOK}",
    "line-end": "one on the half line, zero mean; after Hubel and Wiesel 1965 (end-stopped cells)",
    "corner": "one on the quadrant, zero mean",
    "gabor": "Daugman 1985, with a round bell of one octave, as in scikit-image's gabor_kernel",
}
ABOUT = {
    "identity": "passes one pixel on",
    "box": "the mean: blurs, and takes off noise",
    "gaussian": "a mean that trusts the middle: blurs without streaks",
    "laplacian": "a pixel against its eight neighbours: fine detail",
    "laplacian-4": "a pixel against its four neighbours: fine detail",
    "sharpen": "the image with its fine detail added",
    "log": "a spot against its surroundings, of one size",
    "dog": "a spot against its surroundings, as the retina does",
    "log-wide": "a larger spot against its surroundings",
    "dog-wide": "a larger spot, as the retina does",
    "sobel": "edges{}, smoothed along them",
    "scharr": "edges{}, alike in every direction",
    "prewitt": "edges{}, each pixel along them alike",
    "difference": "a pixel against the next one: the sharpest edges",
    "central": "the pixels on both sides of this one: the slope here",
    "roberts": "a pixel against its diagonal neighbour",
    "line": "thin lines{}, bright or dark",
    "line-end": "where a thin line ends",
    "corner": "where two edges meet",
    "gabor": "stripes of one direction, width and place",
}
RUNS = {90.0: ("x", "that run up and down"), 0.0: ("y", "that run across"), 45.0: ("45", "that rise to the right"),
         135.0: ("135", "that fall to the right")}  # fmt: skip
"""The words of each orientation: in the name, and for people."""
