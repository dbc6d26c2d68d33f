"""The web page: login, live fleet summaries, and the static assets that show them."""
