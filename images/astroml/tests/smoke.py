# ruff: noqa: INP001, S101 - a program that is run inside the image
"""The image for astronomy does its work: it finds and measures stars, and tells two kinds apart.

Run inside, as any uid and without a network: ``python3 smoke.py``.
"""

import importlib
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.modeling import fitting, models
from astropy.stats import sigma_clipped_stats
from astropy.wcs import WCS
from matplotlib import pyplot as plt
from photutils.detection import DAOStarFinder
from reproject import reproject_interp
from sklearn.cluster import KMeans

_WIDTH = 2.0


def _sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [83.6, 22.0]
    wcs.wcs.crpix = [64.5, 64.5]
    wcs.wcs.cdelt = [-0.001, 0.001]
    return wcs


def main() -> None:
    """Make an image of stars, and get out of it what was put in."""
    random = np.random.default_rng(20261125)
    rows, columns = np.mgrid[0:128, 0:128]
    stars = [(30.3, 40.7, 500.0), (90.1, 25.2, 520.0), (64.0, 64.0, 80.0), (100.5, 100.9, 85.0)]
    data = random.normal(10.0, 1.0, (128, 128))
    for x, y, height in stars:
        data += models.Gaussian2D(height, x, y, _WIDTH, _WIDTH)(columns, rows)

    _mean, median, deviation = sigma_clipped_stats(data)
    found = DAOStarFinder(threshold=10 * deviation, fwhm=2.355 * _WIDTH)(data - median)
    assert len(found) == len(stars), found

    fitted = fitting.LevMarLSQFitter()(
        models.Gaussian2D(400, 31, 40, 3, 3), columns, rows, data - median
    )
    assert abs(fitted.x_mean.value - 30.3) < 0.1, fitted
    assert abs(fitted.x_stddev.value - _WIDTH) < 0.1, fitted

    kinds = KMeans(2, n_init=5, random_state=1).fit_predict(np.array(found["flux"])[:, None])
    assert sorted(np.bincount(kinds)) == [2, 2], kinds

    wcs = _sky()
    crab = SkyCoord(83.6 * u.deg, 22.0 * u.deg)
    assert np.allclose(wcs.world_to_pixel(crab), 63.5)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "stars.fits"
        fits.PrimaryHDU(data, wcs.to_header()).writeto(path)
        again, _footprint = reproject_interp(str(path), wcs, shape_out=data.shape)
        assert np.nanmax(abs(again - data)) < 1e-3
        plt.imshow(data)
        plt.savefig(Path(place) / "stars.png")
    for name in ("astroML", "astroquery", "pyvo", "specutils"):
        importlib.import_module(name)


if __name__ == "__main__":
    main()
