"""One run: from pictures to a result, and from its folder on."""
