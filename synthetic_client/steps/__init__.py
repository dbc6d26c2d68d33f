"""The steps' adapters: each touches one service the way an app does."""
