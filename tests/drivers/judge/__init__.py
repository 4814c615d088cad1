"""What an episode holds, and whether that agrees with what was sent."""
