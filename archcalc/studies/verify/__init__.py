"""Our figures beside other people's, and the reason of every difference."""
