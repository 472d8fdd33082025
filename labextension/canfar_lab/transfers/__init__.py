"""Copies, moves, uploads and downloads of any size, as jobs that outlive a page and the server."""
