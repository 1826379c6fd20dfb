"""Raw objects to columns and rejections: the definition of a reading, and the compiled path that agrees with it."""
