"""The notifier: tells people what matters, once, where they want to hear it; the engine never waits for it."""
