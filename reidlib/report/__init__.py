"""What a person looks at: curves, ranked lists and the table of all metrics."""
