"""Streams the rows of CSV, JSONL, Parquet, Arrow and Excel files and of data set folders; a bad row stays a row."""
