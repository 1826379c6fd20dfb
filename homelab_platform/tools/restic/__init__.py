"""Restic: encrypted repositories of snapshots, through its own program."""
