"""Tests of one workload before it is applied."""
