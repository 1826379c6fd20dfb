"""Formats that depend on nothing: readings as sources write them, timestamps, the text of Prometheus exporters.

Belongs here: parsing and printing, pure functions and frozen values. Not here: files, networks, the lab.
"""
