"""What an S3 server must do so that this project may stand on it, as questions that any server can be asked."""
