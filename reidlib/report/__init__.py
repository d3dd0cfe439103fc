"""What a person looks at: curves, ranked lists, contact sheets and the table of all metrics."""
