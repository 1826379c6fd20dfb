"""S3: objects, settings of buckets, users and their rights."""
