"""Real training on two local processes (gloo), each rank's CPU peak by the allocator's events beside the plan's."""
