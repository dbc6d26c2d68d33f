"""The site's own secrets: its certificate authorities, made on the first server, and how they travel."""
