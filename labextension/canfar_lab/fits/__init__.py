"""Headers of FITS files, read without the packages that read their data."""
