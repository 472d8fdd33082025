# ruff: noqa: INP001, T201 - what a shell begins with, and says to whoever sits before it
"""What CASA's shell begins with: its tasks, its tools, and plotms where that is installed."""

import casatasks
import casatools

# Not by a star: some versions of CASA list names there that they do not have.
for _package in (casatools, casatasks):
    for _name in dir(_package):
        if not _name.startswith("_") and callable(getattr(_package, _name)):
            globals()[_name] = getattr(_package, _name)
_tasks = "tclean, listobs"
try:
    from casaplotms import plotms  # noqa: F401 - for whoever sits before it
except ImportError:
    pass
else:
    _tasks += ", plotms"
print(f"CASA {casatools.version_string()}. Tasks: {_tasks}, …; tools: tb = table(), …")
