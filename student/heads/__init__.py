"""What a student of each kind of task is: its rows, its model, what it aims at, and how it is scored."""
