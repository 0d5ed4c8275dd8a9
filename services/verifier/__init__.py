"""The verifier: judges what was executed, with checks of its own, and alone says that a task is done."""
