"""Sentences about surfaces and their state, and the short vocabulary they need.

A prompt is a template around a state around a name: "a photo of the" + "cracked {}" + "carpet".
Names are exchanged for words without meaning in training, so that an unseen class name still works.
"""

import random

TEMPLATES = """a photo of a {}|a photo of the {}|a cropped photo of the {}|a cropped photo of a {}
a close-up photo of a {}|a close-up photo of the {}|a bright photo of a {}|a bright photo of the {}
a dark photo of a {}|a dark photo of the {}|a blurry photo of the {}|a blurry photo of a {}
a jpeg corrupted photo of a {}|a jpeg corrupted photo of the {}|a photo of a small {}|a photo of the large {}
a photo of the small {}|a photo of a large {}|a photo of the {} for visual inspection
a photo of a {} for anomaly detection|a photo of the {} for anomaly detection|a photo of a {} for visual inspection
a bad photo of a {}.|a good photo of the {}.|a low resolution photo of the {}.|a black and white photo of a {}.
a photo of my {}.|a photo of one {}.|a photo of a cool {}.|there is a {} in the scene.|this is the {} in the scene.
this is one {} in the scene.|a picture of {}|an image of a {}|the camera looks at {}|{}|{}.|the {}|a {}
a photo of a photo of a {}.|a photo of a a close-up photo of the {}.|a view of the {}|here we see {}""".replace(
    "\n", "|"
).split("|")

NORMAL = """{}|flawless {}|perfect {}|unblemished {}|{} without flaw|{} without defect|{} without damage
intact {}|clean {}|undamaged {}|good {}|even {}|regular {}|healthy {}|faultless {}|{} in perfect condition
{} in good order|{} with an even surface|{} without any fault|spotless {}|pristine {}|normal {}|sound {}
unbroken {}|uniform {}|immaculate {}|{} as it should be|new {}|{} without blemish|complete {}|proper {}""".replace(
    "\n", "|"
).split("|")

ANOMALOUS = """damaged {}|{} with flaw|{} with defect|{} with damage|broken {}|defective {}|faulty {}|flawed {}
blemished {}|{} with a fault|{} with a blemish|abnormal {}|anomalous {}|spoiled {}|{} with something wrong
scratched {}|{} with a scratch|cracked {}|{} with a crack|{} with a hole|punctured {}|torn {}|stained {}|{} with a stain
dirty {}|{} with dirt on it|contaminated {}|{} with a foreign body|{} with a missing part|worn {}|{} with a worn area
discoloured {}|{} with a discoloured region|uneven {}|irregular {}|{} with a cut|burnt {}|chipped {}|{} with a spot
deformed {}|imperfect {}|{} in bad condition|ruined {}|{} with an anomaly|marked {}|corroded {}|rusty {}|smeared {}""".replace(
    "\n", "|"
).split("|")

NORMAL_SENTENCES = """an even surface in one colour|a clean part straight from the line|edges that are straight and complete
a regular texture without interruption|a smooth finish with a uniform shine|every element in its place
a sound piece that passes inspection|fibres that run parallel and unbroken|a spotless and dry surface
a pattern that repeats without error|material of constant thickness|an intact coating|nothing is wrong here
the texture continues without a break|all of it looks the same|no damage can be seen|a surface without marks
the pattern is regular everywhere|it is clean and whole|good material|nothing stands out|flawless|perfect|undamaged""".replace(
    "\n", "|"
).split("|")

ANOMALOUS_SENTENCES = """a crack that runs across the surface|a scratch through the finish|a hole where material is missing
a chipped edge|a dark stain on the material|rust that eats into the part|a torn fibre|a bent or misplaced element
dirt and residue on the surface|a broken corner|paint that flakes off|an irregular patch in the pattern|a cut in the fabric
a foreign body stuck in the material|a discoloured area|a dent in the metal|something is wrong here|the texture is interrupted
one place looks different from the rest|damage can be seen|a surface with a mark|the pattern is broken here|it is dirty or torn
bad material|something stands out|a defect|a flaw|damage|an anomaly|damaged|defective""".replace(
    "\n", "|"
).split("|")

# Words without a state: class names of all kinds and things that have nothing to do with surfaces.
NEUTRAL = """object|surface|texture|material|thing|item|part|product|piece|sample|fabric|cloth|carpet|rug|leather|tile|tiles|hex tiles
wood|grid|mesh|metal|stone|brick|bricks|wall|floor|paper|plastic|rubber|glass|plate|sheet|panel|board|knit|weave|felt|foil|foam
bottle|cable|capsule|hazelnut|nut|pill|screw|toothbrush|transistor|zipper|candle|cashew|gum|fryum|macaroni|circuit board
magnetic tile|magnet|steel|concrete|ceramic|marble|granite|plaster|sand|gravel|cork|bark|grass|wire|ring|gear|bolt|washer|pipe
dog|cat|horse|bird|fish|cow|sheep|lion|tree|flower|leaf|apple|banana|orange|bread|cheese|cup|spoon|fork|knife|table|chair
house|door|window|street|car|bus|train|boat|plane|bicycle|bridge|river|lake|sea|mountain|cloud|sky|moon|star|sun|rain|snow
man|woman|child|girl|boy|king|queen|teacher|doctor|friend|book|letter|picture|music|song|dance|game|ball|guitar|piano|clock
phone|computer|camera|lamp|bed|hat|shoe|coat|dress|shirt|bag|box|key|ticket|money|garden|park|school|city|village|road|island
summer|winter|morning|evening|night|red|green|blue|yellow|white|black|brown|pink|purple|grey|happy|quiet|famous|old|young""".replace(
    "\n", "|"
).split("|")

NEUTRAL_TEMPLATES = """a photo of a {}|a photo of the {}|{}|the {}|a {}|a drawing of a {}|my {}|a story about the {}|a {} and a {}
the {} of the {}|a photo of a {} in the {}|this is a {}.|there is a {} in the scene.|a close-up photo of the {}|we like the {}""".replace(
    "\n", "|"
).split("|")


def _pick_name(rng, own, p_random):
    """The product's own name, a word that means nothing here, an unknown word, or `object`."""
    if rng.random() >= p_random:
        return own
    kind = rng.random()
    if kind < 0.4:
        return UNKNOWN
    if kind < 0.85:
        return rng.choice(NEUTRAL)
    return rng.choice(["object", "surface"])


UNKNOWN = "\x00"  # stands for a word outside the vocabulary


def ensemble(rng, own, anomalous, count, extra=()):
    """`count` prompts of one label about the surface `own`; `extra` are the generator's sentences of that label."""
    states, sentences = (ANOMALOUS, ANOMALOUS_SENTENCES) if anomalous else (NORMAL, NORMAL_SENTENCES)
    broad = 7 if not anomalous else 15  # the first ones say nothing about the kind
    prompts = []
    name = _pick_name(rng, own, 0.35)
    for _ in range(count):
        kind = rng.random()
        if kind < 0.15:
            prompts.append(rng.choice(sentences))
        elif kind < 0.25 and extra:
            prompts.append(rng.choice(extra))
        else:
            state = rng.choice(states[:broad]) if rng.random() < 0.6 else rng.choice(states)
            prompts.append(rng.choice(TEMPLATES).replace("{}", state).replace("{}", name))
    return prompts


def neutral(rng):
    """A sentence that says nothing about the state of a surface."""
    words = rng.choice(NEUTRAL_TEMPLATES)
    while "{}" in words:
        words = words.replace("{}", rng.choice(NEUTRAL), 1)
    return words


class Vocabulary:
    """CLIP token ids in use -> rows of the short table; the last row is every other id."""

    def __init__(self, ids):
        self.ids = sorted(set(ids) | {49406, 49407})
        self.row = {token: k for k, token in enumerate(self.ids)}
        self.unknown = len(self.ids)

    @classmethod
    def of(cls, tokenizer, extra_sentences=()):
        texts = (
            TEMPLATES
            + NORMAL
            + ANOMALOUS
            + NORMAL_SENTENCES
            + ANOMALOUS_SENTENCES
            + NEUTRAL
            + NEUTRAL_TEMPLATES
        )
        ids = set()
        for text in list(texts) + list(extra_sentences):
            ids.update(tokenizer.encode(text.replace("{}", " ")))
        return cls(ids)


class Encoder:
    """Sentences -> rows of the short table, padded with 0 as CLIP does, and where the end marker stands."""

    def __init__(self, tokenizer, vocabulary, context):
        self.tokenizer, self.vocabulary, self.context, self.seen = tokenizer, vocabulary, context, {}

    def rows(self, text):
        if text not in self.seen:
            v, body = self.vocabulary, []
            for k, part in enumerate(text.split(UNKNOWN)):
                body += [v.unknown] * (k > 0)
                body += [v.row.get(token, v.unknown) for token in self.tokenizer.encode(part)]
            self.seen[text] = [v.row[49406]] + body[: self.context - 2] + [v.row[49407]]
        return self.seen[text]

    def __call__(self, texts, drop=0.0, rng=random):
        import torch

        rows = [self.rows(text) for text in texts]
        # CLIP pads with id 0; after the end marker nothing is read (causal mask), so any row will do.
        out = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        for k, row in enumerate(rows):
            if drop:
                row = (
                    row[:1]
                    + [self.vocabulary.unknown if rng.random() < drop else r for r in row[1:-1]]
                    + row[-1:]
                )
            out[k, : len(row)] = torch.tensor(row)
        return out, torch.tensor([len(row) - 1 for row in rows])
