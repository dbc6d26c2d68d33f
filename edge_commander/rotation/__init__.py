"""How a formed site changes its secrets and renews its certificates: one server after another, never two at once."""
