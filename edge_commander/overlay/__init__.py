"""The overlay on /etc: what its upper layer changes of the image, what may, and what is dropped for a newer image."""
