"""A stand-in for CARTA's own server, `carta_backend`, which is in no registry that tests can reach.

It takes the options of the real one and no others, asks for its token, serves the real page of
npm's `carta-frontend` and speaks as much of CARTA's protocol as that page needs to list files, open
an image and draw it. Standard library only, as sessions run it with the machine's own Python.
"""
