"""What a task may do: the rules as values, the lists as data, and the merge in which the stricter wins."""
