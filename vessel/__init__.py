"""Vessel: keeps the site's cluster at what its Atlas (Git repository) says, and reports what came of it."""
