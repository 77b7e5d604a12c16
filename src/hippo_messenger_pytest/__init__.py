"""The pytest plugin of hippo_messenger.

A package of its own, since pytest loads it in every run of every project that has it installed: nothing of
`hippo_messenger` is imported before a test asks for a fixture.
"""
