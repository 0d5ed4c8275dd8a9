"""The planner: hears people, verdicts, failures and timers; says what is ready, retried, given up and over."""
