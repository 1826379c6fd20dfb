"""Restored copies brought to life in a scratch place, and compared with what was saved."""
