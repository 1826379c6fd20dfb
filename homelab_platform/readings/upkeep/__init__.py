"""Keeping the lake small: compaction, expiry, orphans, and how a table lies in the bucket."""
