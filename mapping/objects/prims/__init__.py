"""Plain shapes and furniture from a few words: exact sizes, at once, without any weights.

`grammar.understood` reads "red cube 20 cm" into a `Wanted`; `shapes.built` makes it. What the grammar does not know it
says so, and the next provider is asked.
"""
