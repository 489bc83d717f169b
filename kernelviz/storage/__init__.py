"""Files of other file systems, by their URIs: ``s3://bucket/photo.jpg``, ``hf://datasets/user/photos``, ``memory://a``."""
