"""YAML text to frozen values, or every mistake with its place."""
