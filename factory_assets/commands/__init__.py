"""What can be asked and decided from the terminal? One module a subject, each a group of the `factory` command."""
