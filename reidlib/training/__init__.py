"""Memories, losses and the loop that trains a network on pseudo-labels."""
