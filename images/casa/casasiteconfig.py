# ruff: noqa: INP001 - CASA reads it as a file
"""What CASA uses at this site: the data that came with it, and no downloads at its start."""

import os

import casadata

_scratch = os.environ.get("CANFAR_SCRATCH", "/tmp")  # noqa: S108 - outside of a session

measurespath = casadata.datapath
datapath = [casadata.datapath]
measures_auto_update = False
data_auto_update = False
# A full home must not keep CASA from starting.
logfile = f"{_scratch}/casa.log"
