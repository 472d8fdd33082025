"""Looks into files: headers, thumbnails and first rows, without the packages that read all of them."""
