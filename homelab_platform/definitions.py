"""The code location: the graph of the lab that $HOMELAB_LAB names (else the pi-cluster example).

Belongs here: nothing but the way from the lab file to the definitions. A broken lab file shows the last good lab and
its problems; it never leaves the UI blank.
"""

import gc
import os

gc.disable()  # all that loading makes stays, and each collection would walk all of it

# ruff: noqa: E402
from homelab_platform.graph.build import definitions_of_file
from homelab_platform.graph.labfile import lab_path
from homelab_platform.plan.sites import kind_here

try:
    defs = definitions_of_file(lab_path(), site=kind_here(os.environ))
finally:
    gc.freeze()
    gc.enable()
