"""The files of a session: areas, folders of any size, search, and what changes them."""
