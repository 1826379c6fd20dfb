"""Files that people drop into a folder of a site, brought into the raw bucket."""
