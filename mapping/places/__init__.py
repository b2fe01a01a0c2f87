"""Places that phones see twice: what is recognised, when it is believed, how several maps become one.

Enter: keyframes with the tracker's answer. Leave: `agreement.Seen`, a pair of keyframes that show one place, and
`ties.Tie`, what several such pairs say about two components. `recogniser.py` tells the story of a keyframe (it may run
anywhere: it decides nothing), `ties.py` that of a merge (it runs where the map is written).

No weights: `features.py` describes corners, `embedding.py` makes one vector of them that `index.py` looks up,
`verification.py` poses two cameras in each other's landmarks, `agreement.py` wants several pairs to say the same,
`contradiction.py` that what the keyframes show does not speak against it, `repetition.py` that it is more than a
pattern, `lens_check.py` that no lens is far off, `similarity.py` fits. `links.py` remembers what was recognised for
`pose_graph.py`, which bends keyframes until all agree, each seen through the lens that `lens_errors.py` finds for its
phone. `locating.py` poses a single picture in the whole map, `storing.py` takes places to the disk and back. May
import: `mapping.changes`, `.kept`, `.placing`, `.kernels`, `.sampling`, `.transforms`, `.tracking` (its lens and
answer), `.store.records`, `streams.frame`; numpy, scipy, numba, OpenCV, poselib.
"""
