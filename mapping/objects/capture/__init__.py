"""One real thing out of the live map: posed keyframes in, a textured, metric, placed mesh out.

`capturing.py` is the story: poses made to agree (`poses`), the thing told from its surroundings (`region`, `masks`),
carved (`carving`), cleaned, unwrapped and baked.
"""
