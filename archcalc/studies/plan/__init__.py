"""Training on many devices: what a rank holds, what ranks send each other, and how fast a step can be at best."""
