"""Judge a report against a baseline. No torch: a gate on saved JSON starts in a blink."""
