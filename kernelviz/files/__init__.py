"""The disk: images and numbers come in, pictures and arrays go out, whole or not at all."""
