"""Plain shapes and furniture from a few words: exact sizes, at once, without any weights.

`grammar.understood` reads "red cube 20 cm" into a `Wanted`, its numbers by `sizes.sizes`; `shapes.built` makes it. What
is not understood it says, and the next provider is asked.
"""
