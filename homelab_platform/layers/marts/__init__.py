"""`mart/<name>`: tables computed from readings."""
