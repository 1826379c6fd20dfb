"""The lab file as types: one module for each section."""
