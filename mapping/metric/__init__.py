"""How long a metre is and which way is up, from whatever knows it.

Enter: cues, each with its uncertainty (markers, stated distances, posed cameras, the phone's gravity, level planes).
Leave: scale, up and their sigmas, with the source named; `none` where nobody knows. May import: `mapping.transforms`,
`mapping.alignment`; numpy, OpenCV.
"""
