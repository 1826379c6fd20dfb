"""Patching: what one host and one node are asked and told while their system is updated."""
