"""Which ways of training a student of recorded votes are more accurate."""
