"""Who is asked, what they are asked, how their answers are read and counted."""
