"""What is known of each ATen op, from the shapes of one call alone: one entry an op. No torch."""
