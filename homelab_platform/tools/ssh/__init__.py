"""OpenSSH: commands on hosts, and what keeps them from running."""
