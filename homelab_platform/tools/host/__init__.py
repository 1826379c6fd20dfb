"""Programs that run on a host of the lab, with nothing but what the host has."""
