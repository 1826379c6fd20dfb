"""Disks and cards that are plugged into this machine: a probe that reads, writing an image that writes."""
