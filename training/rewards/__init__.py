"""Rewards: what gives a completion its score. `spec` says what can be asked for, `combine` adds the sources up.

Importing the package needs no torch, since the recipes' settings name sources.
"""
