"""An image of the sky with one star, and where its star is: computed here, not by what is tested."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Sky:
    """A gnomonic image, turned and with east to the left as images of the sky are."""

    size: int = 96
    centre: tuple[float, float] = (150.1, 2.2)
    """Right ascension and declination at the reference pixel, in degrees."""
    scale: float = 1 / 3600
    """Degrees a pixel."""
    turned: float = 25.0
    """Degrees from the image's top to north."""
    star: tuple[int, int] = (67, 31)
    """Column and row of the star, counted from one."""

    @property
    def matrix(self) -> tuple[float, float, float, float]:
        """CD1_1, CD1_2, CD2_1 and CD2_2."""
        angle = math.radians(self.turned)
        across, along = self.scale * math.cos(angle), self.scale * math.sin(angle)
        return -across, along, along, across

    @property
    def position(self) -> tuple[float, float]:
        """Right ascension and declination of the star, in degrees."""
        reference = (self.size + 1) / 2
        x, y = self.star[0] - reference, self.star[1] - reference
        first, second, third, fourth = self.matrix
        xi, eta = math.radians(first * x + second * y), math.radians(third * x + fourth * y)
        ra, dec = map(math.radians, self.centre)
        below = math.cos(dec) - eta * math.sin(dec)
        found = math.atan2(xi, below)
        up = math.atan2((math.sin(dec) + eta * math.cos(dec)) * math.cos(found), below)
        return math.degrees(ra + found), math.degrees(up)

    def write(self, path: Path) -> None:
        """Write it as FITS, its star the only pixel that is not dark."""
        reference = (self.size + 1) / 2
        numbers = {
            "CRVAL1": self.centre[0],
            "CRVAL2": self.centre[1],
            "CRPIX1": reference,
            "CRPIX2": reference,
            **dict(zip(("CD1_1", "CD1_2", "CD2_1", "CD2_2"), self.matrix, strict=True)),
        }
        cards = [
            f"{'SIMPLE':8}= {'T':>20}",
            f"{'BITPIX':8}= {-32:>20}",
            f"{'NAXIS':8}= {2:>20}",
            f"{'NAXIS1':8}= {self.size:>20}",
            f"{'NAXIS2':8}= {self.size:>20}",
            f"{'CTYPE1':8}= 'RA---TAN'",
            f"{'CTYPE2':8}= 'DEC--TAN'",
            f"{'RADESYS':8}= 'ICRS    '",
            *(f"{name:8}= {value:>20.13G}" for name, value in numbers.items()),
            "END",
        ]
        values = [0.0] * (self.size * self.size)
        values[(self.star[1] - 1) * self.size + self.star[0] - 1] = 1000.0
        header = "".join(card.ljust(80) for card in cards).encode()
        data = struct.pack(f">{len(values)}f", *values)
        path.write_bytes(_block(header, b" ") + _block(data, b"\0"))


def _block(content: bytes, filler: bytes) -> bytes:
    return content.ljust(-(-len(content) // 2880) * 2880, filler)
