"""Long-running jobs of any kind: made once, answered once, waited for, ended."""
