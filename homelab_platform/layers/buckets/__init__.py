"""`bucket/<name>`: buckets of the site's S3 server."""
