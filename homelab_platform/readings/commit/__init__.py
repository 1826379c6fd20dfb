"""From decoded readings to committed tables: parts, spans, one transaction."""
