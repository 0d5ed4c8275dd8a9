"""The executor: takes tasks that are ready, runs them, says what came of it. It never says that a task is done."""
