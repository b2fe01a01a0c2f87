"""What has to be known about English to tell one thing's name from another's: closed lists, none of them of assets."""

from __future__ import annotations


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


PREPOSITIONS = _listed(
    "with without of for in on at from by to into onto under over near beside behind above below between containing "
    "holding made featuring having wearing and or that which who inside outside against"
)
FILLERS = _listed(
    "a an the some one my your his her our their this that please make create generate two three four five six seven "
    "eight nine ten several many few"
)
MEASURES = _listed(
    "pair set piece bunch slice loaf bar stack pile group collection couple row model picture photo image"
)
"""What is counted stands behind them: a pair of scissors is scissors."""
IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "lice": "louse", "oxen": "ox", "dice": "die", "cacti": "cactus",
    "fungi": "fungus", "knives": "knife", "lives": "life", "wives": "wife", "selves": "self", "shoes": "shoe",
    "toes": "toe", "canoes": "canoe", "axes": "axe", "pies": "pie", "ties": "tie", "movies": "movie",
    "cookies": "cookie", "brownies": "brownie", "hoodies": "hoodie", "quizzes": "quiz", "buses": "bus",
    "gases": "gas", "lenses": "lens", "vases": "vase", "bases": "base", "cases": "case", "houses": "house",
    "horses": "horse", "nurses": "nurse", "purses": "purse", "hoses": "hose", "roses": "rose", "noses": "nose",
    "blouses": "blouse", "cheeses": "cheese", "moustaches": "moustache", "headaches": "headache", "caches": "cache",
}  # fmt: skip
"""Plurals of things that no rule gives."""
UNCHANGED = _listed(
    "always atlas bellows bus canvas chess christmas clothes compass cross deer dress eyeglasses fish "
    "gallows gas glass glasses has iris is its lens news plus "
    "series sheep species stairs sunglasses tennis this us was yes"
)
"""End in s and are not more than one."""
SYNONYMS = (
    "sofa couch settee", "tv television telly", "bike bicycle", "fridge refrigerator", "car automobile",
    "plane airplane aeroplane aircraft", "phone telephone", "faucet tap", "torch flashlight", "truck lorry",
    "glasses eyeglasses spectacle", "rug carpet", "bin trashcan dustbin wastebasket", "cupboard closet",
    "motorcycle motorbike", "sneaker trainer", "pant trouser", "stairs staircase stairway", "photo photograph",
    "rock stone", "ship vessel", "kid child", "soda pop", "stove cooker", "eraser rubber", "suitcase luggage",
    "bunny rabbit", "donut doughnut", "mic microphone", "computer pc", "gun firearm", "purse handbag",
    "sculpture statue", "cap hat", "bookcase bookshelf", "backpack rucksack", "hamburger burger", "screen monitor",
    "sweater pullover jumper", "watch wristwatch", "vacuum hoover", "grill barbecue bbq", "sled sledge sleigh",
    "smartphone cellphone",
)  # fmt: skip
"""Groups of words for the same thing."""
COMPOUNDS = _listed(
    "back+pack bean+bag bill+board black+board book+case butter+fly candle+stick card+board chop+stick club+house "
    "cross+bow cup+cake dash+board desk+top dog+house dragon+fly drum+stick ear+phone egg+plant fire+fly "
    "fire+place french+fry ginger+bread green+house guinea+pig gummy+bear head+phone hedge+hog honey+comb "
    "hot+dog hour+glass ice+cream jelly+fish joy+stick key+board lady+bug lap+top light+house lip+stick "
    "match+stick news+paper note+book nut+cracker pan+cake pea+cock peanut+butter piggy+bank pine+apple pine+cone "
    "play+ground pop+corn prairie+dog rain+bow rocking+horse sand+paper scare+crow sea+horse sea+lion see+saw "
    "shuttle+cock skate+board sky+scraper snow+board snow+man star+fish surf+board teddy+bear tooth+paste "
    "wall+paper white+board x+ray yo+yo"
)
"""Together they are a thing that the last word alone is not: a hot dog is no dog."""
DESCRIBING = _listed(
    "small little tiny mini big large huge giant tall short long wide narrow thin thick heavy light old new "
    "modern antique ancient vintage retro classic rustic round square rectangular oval curved flat simple plain "
    "fancy nice beautiful pretty cute ugly ornate decorative generic basic realistic stylized cartoon low poly "
    "lowpoly high res detailed clean dirty empty full open closed broken damaged worn used fresh ripe raw cooked "
    "shiny matte glossy transparent clear colorful colourful dark bright pale ceramic porcelain glass fabric "
    "cotton wool silk velvet wicker bamboo bronze tin chrome granite brick foam straw denim single double medium "
    "normal standard common typical cheap expensive comfortable cozy soft hard sharp smooth rough hollow solid "
    "sturdy striped painted asset model object mesh prop item final version free textured lod scan scanned "
    "untitled copy export v lp hp hd uv pbr fbx glb gltf obj"
)
"""Besides colours and materials: say what a thing looks like, not what it is."""
DESCRIBING_ENDINGS = ("ed", "ish", "less", "ful", "ous", "en")
NOT_DESCRIBING = _listed("garden kitchen chicken oven children bed seed weed reed shed sled kitten")
"""Have such an ending and are things all the same."""
EYEWEAR = _listed("reading safety sun eye swimming prescription protective spare")
"""Glasses of these kinds are worn."""
THINGS_TOO = _listed("glass brick stone straw paper iron tin orange olive lime cream rubber foam model")
"""Describe when they stand before a noun, and are things when they stand last."""
