"""The site of one lab on this machine: its folder, its processes, up, down, status."""
