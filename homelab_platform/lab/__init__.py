"""What the lab should be: the typed model, loading with positions, one function per rule, resolving.

Pure: reads the lab file (and what it includes) and nothing else; touches no network and no server.
"""
