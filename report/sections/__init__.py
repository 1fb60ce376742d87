"""What the page shows of each kind of student: its texts, its panel and its charts."""
