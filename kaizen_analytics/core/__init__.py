"""What every room uses: the model, its errors, words, git and the registry of metrics."""
