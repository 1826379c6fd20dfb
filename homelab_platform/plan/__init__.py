"""Desired against observed: fingerprints, diffs, danger, the frozen Plan. Pure; knows no tool and no Dagster."""
