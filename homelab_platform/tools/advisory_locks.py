"""The advisory locks of PostgreSQL that this platform takes: each number once.

Belongs here: the numbers. A class and an object number make one lock; all of a class are told apart by the second.
Locks are the database's: two sites that share a server but no database never meet.
"""

from __future__ import annotations

LAKE = 0x48_4C_41
"""Class of what changes the lake: the object number is one of the next three."""
LAKE_COMMIT, LAKE_SCHEMA, LAKE_CLAIM = 1, 2, 3
INGEST_WORKER = 0x48_4C_57
"""Class of one lock for each living ingest worker; the object number is its id."""
MART = 0x48_4C_4D
"""Class of one lock for each mart that is being computed; the object number is the mart's."""
ASSET = 0x6C_6F_63_6B
"""Class of one lock for each asset that is being changed, and for the lab; the object number is a hash of the key."""
STATE_TABLE = 0x68_6F_6D_65
"""Making or upgrading the table of applied states."""
TRINO_ROLES = 0x74_72_69_6E
"""Trino's roles belong to the whole server: two grants at once would fail."""
JOURNAL_TABLE = 0x6F_70_65
"""Making the tables of the operations journal."""
