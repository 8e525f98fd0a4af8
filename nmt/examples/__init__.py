"""Example tasks whose text is generated, and the experiment files of the package."""
