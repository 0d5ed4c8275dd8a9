"""What things look like: ids, values, doubtful input, plan formats. Imports nothing else of ours."""
