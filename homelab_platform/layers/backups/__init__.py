"""What holds state, how a copy of it at one point in time is made, and the places where copies lie."""
