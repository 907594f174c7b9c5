"""What a worker does beside driving runs: hooks and schedules start some; metrics, health."""
