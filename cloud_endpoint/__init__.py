"""The cloud endpoint: receives reports, keeps the record of the fleet, and shows it."""
