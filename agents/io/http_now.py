"""Imported by who needs aiohttp from its start on, before any module that imports it in the ordinary way."""

from agents.io.http_library import load

load()
