# ruff: noqa: INP001, S101 - a program that is run inside the image
"""The image for astronomy does its work: it finds and measures stars, and tells two kinds apart.

Run inside, as any uid and without a network: ``python3 smoke.py``.
"""

import io
import tempfile
from pathlib import Path

import matplotlib as mpl

mpl.use("agg")

import numpy as np
from astroML.stats import fit_bivariate_normal
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable import from_table, parse
from astropy.modeling import fitting, models
from astropy.stats import sigma_clipped_stats
from astropy.table import Table
from astropy.wcs import WCS
from astroquery.vizier import Vizier
from matplotlib import pyplot as plt
from photutils.detection import DAOStarFinder
from pyvo.dal import DALResults
from reproject import reproject_interp
from sklearn.cluster import KMeans
from specutils import Spectrum
from specutils.fitting import fit_lines

_WIDTH = 2.0


def _sky() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [83.6, 22.0]
    wcs.wcs.crpix = [64.5, 64.5]
    wcs.wcs.cdelt = [-0.001, 0.001]
    return wcs


def _line() -> None:
    """Find a spectral line where it was put: specutils."""
    waves = np.linspace(6500, 6620, 240) * u.AA
    line = models.Gaussian1D(5 * u.Jy, 6562.8 * u.AA, 4 * u.AA)
    guess = models.Gaussian1D(4 * u.Jy, 6558 * u.AA, 6 * u.AA)
    fitted = fit_lines(Spectrum(flux=line(waves), spectral_axis=waves), guess)
    assert abs(fitted.mean.quantity.to_value(u.AA) - 6562.8) < 0.1, fitted


def _shape(random: np.random.Generator) -> None:
    """Find the shape of a source from its photons: astroML."""
    photons = random.normal([30.3, 40.7], [_WIDTH, _WIDTH / 2], (20_000, 2))
    middle, major, minor, _angle = fit_bivariate_normal(*photons.T)
    assert np.allclose(middle, [30.3, 40.7], atol=0.1), middle
    assert np.allclose([major, minor], [_WIDTH, _WIDTH / 2], atol=0.1), (major, minor)


def _catalogue(found: Table) -> None:
    """Read what was found as an archive would give it, and ask one: pyvo and astroquery."""
    file = io.BytesIO()
    from_table(found).to_xml(file)
    answer = DALResults(parse(io.BytesIO(file.getvalue())))
    assert np.allclose(answer["flux"], found["flux"])
    # What would be sent, as there is no network here.
    crab = SkyCoord(83.6 * u.deg, 22.0 * u.deg)
    asked = Vizier.query_region(crab, radius=1 * u.arcmin, get_query_payload=True)
    assert "83.6" in str(asked), asked


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
    _line()
    _shape(random)
    _catalogue(found)


if __name__ == "__main__":
    main()
