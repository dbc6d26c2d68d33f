"""Fakes that unit tests share; each is held to the same contract tests as what it stands for."""
