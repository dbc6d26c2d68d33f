"""The HTTP application: gate, handlers, and the services they share."""
