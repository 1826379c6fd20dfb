"""Homelab Platform: one typed file describes the lab; a Dagster graph makes it real, keeps it real and proves it.

Subpackages form a chain in which each knows only those to its left:
lab → catalog → plan → tools → readings → operations → servers → graph → cli. Nothing is re-exported here, so that
importing one part never pays for another.
"""

__version__ = "0.1.0"
