# ruff: noqa: INP001, S101 - a program that is run inside the image
"""The image of CASA does its work: a source of 1 Jy is observed, imaged, and comes out as 1 Jy.

Run inside, as any uid and without a network: ``python3 smoke.py``.
"""

import os
import tempfile

import casadata
from casatasks import imstat, setjy, tclean
from casatools import componentlist, measures, quanta, simulator, table

_SET = "source.ms"
_FLUX = 1.0
_WITHIN = 0.01
_WHERE = "J2000 13h31m08.29s +30d30m33.0s"
"""That of 3C286, whose flux is in the data that came with the image."""


def _antennas() -> tuple[list[float], list[float], list[float]]:
    """Give three arms of six antennas, in metres from the array's centre: like the VLA's."""
    arms = [(-0.09, 0.99), (-0.87, -0.5), (0.87, -0.5)]
    steps = [60.0, 160.0, 300.0, 480.0, 700.0, 960.0]
    east = [arm[0] * step for arm in arms for step in steps]
    north = [arm[1] * step for arm in arms for step in steps]
    return east, north, [0.0] * len(east)


def _observe() -> None:
    """Observe one source of 1 Jy for an hour."""
    place, units = measures(), quanta()
    components = componentlist()
    components.addcomponent(dir=_WHERE, flux=_FLUX, fluxunit="Jy", freq="1.5GHz", shape="point")
    components.rename("source.cl")
    components.done()
    east, north, up = _antennas()
    observed = simulator()
    observed.open(_SET)
    observed.setconfig(
        telescopename="VLA",
        x=east,
        y=north,
        z=up,
        dishdiameter=[25.0] * len(east),
        mount=["alt-az"],
        antname=[f"A{number:02d}" for number in range(len(east))],
        padname=[f"P{number:02d}" for number in range(len(east))],
        coordsystem="local",
        referencelocation=place.observatory("VLA"),
    )
    observed.setspwindow(
        spwname="L",
        freq="1.5GHz",
        deltafreq="1MHz",
        freqresolution="1MHz",
        nchannels=4,
        stokes="RR LL",
    )
    observed.setfeed(mode="perfect R L", pol=[""])
    observed.setfield(sourcename="3C286", sourcedirection=_WHERE)
    observed.settimes(
        integrationtime="60s",
        usehourangle=True,
        referencetime=place.epoch("utc", units.quantity("2026-01-01")),
    )
    observed.observe("3C286", "L", starttime="-1800s", stoptime="1800s")
    observed.predict(complist="source.cl")
    observed.close()


def _stated() -> float:
    """Give what the flux standard that is in the data says of the source, in Jy."""
    setjy(vis=_SET, field="3C286", standard="Perley-Butler 2017", usescratch=True)
    rows = table()
    rows.open(_SET)
    model = abs(rows.getcol("MODEL_DATA")).mean()
    rows.close()
    return float(model)


def main() -> None:
    """Observe, image and measure."""
    files = sum(len(files) for _place, _directories, files in os.walk(casadata.datapath))
    assert files > 100, casadata.datapath
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        _observe()
        tclean(
            vis=_SET,
            imagename="source",
            imsize=128,
            cell="3arcsec",
            niter=200,
            threshold="1mJy",
            weighting="natural",
        )
        found = imstat("source.image")["max"][0]
        assert abs(found - _FLUX) < _WITHIN, found
        # 3C286 has 14 Jy at 1.5 GHz.
        stated = _stated()
        assert 12 < stated < 16, stated
        os.chdir("/")


if __name__ == "__main__":
    main()
