//! The words that the starter learns. `|` stands between entries.

/// How a photo is spoken of; `{}` is the surface in its state.
pub const TEMPLATES: &str = "\
    a photo of a {}|a photo of the {}|a cropped photo of the {}|a cropped photo of a {}|\
    a close-up photo of a {}|a close-up photo of the {}|a bright photo of a {}|\
    a bright photo of the {}|a dark photo of a {}|a dark photo of the {}|a blurry photo of the {}|\
    a blurry photo of a {}|a jpeg corrupted photo of a {}|a jpeg corrupted photo of the {}|\
    a photo of a small {}|a photo of the large {}|a photo of the small {}|a photo of a large {}|\
    a photo of the {} for visual inspection|a photo of a {} for anomaly detection|\
    a photo of the {} for anomaly detection|a photo of a {} for visual inspection|\
    a bad photo of a {}.|a good photo of the {}.|a low resolution photo of the {}.|\
    a black and white photo of a {}.|a photo of my {}.|a photo of one {}.|a photo of a cool {}.|\
    there is a {} in the scene.|this is the {} in the scene.|this is one {} in the scene.|\
    a picture of {}|an image of a {}|the camera looks at {}|{}|{}.|the {}|a {}|\
    a photo of a photo of a {}.|a photo of a a close-up photo of the {}.|a view of the {}|\
    here we see {}";

/// States of an undamaged surface; the first `N_BROAD_NORMAL` say nothing of the kind.
pub const NORMAL: &str = "\
    {}|flawless {}|perfect {}|unblemished {}|{} without flaw|{} without defect|{} without damage|\
    intact {}|clean {}|undamaged {}|good {}|even {}|regular {}|healthy {}|faultless {}|\
    {} in perfect condition|{} in good order|{} with an even surface|{} without any fault|\
    spotless {}|pristine {}|normal {}|sound {}|unbroken {}|uniform {}|immaculate {}|\
    {} as it should be|new {}|{} without blemish|complete {}|proper {}";

/// States of a damaged surface; the first `N_BROAD_ANOMALOUS` say nothing of the kind.
pub const ANOMALOUS: &str = "\
    damaged {}|{} with flaw|{} with defect|{} with damage|broken {}|defective {}|faulty {}|\
    flawed {}|blemished {}|{} with a fault|{} with a blemish|abnormal {}|anomalous {}|spoiled {}|\
    {} with something wrong|scratched {}|{} with a scratch|cracked {}|{} with a crack|\
    {} with a hole|punctured {}|torn {}|stained {}|{} with a stain|dirty {}|{} with dirt on it|\
    contaminated {}|{} with a foreign body|{} with a missing part|worn {}|{} with a worn area|\
    discoloured {}|{} with a discoloured region|uneven {}|irregular {}|{} with a cut|burnt {}|\
    chipped {}|{} with a spot|deformed {}|imperfect {}|{} in bad condition|ruined {}|\
    {} with an anomaly|marked {}|corroded {}|rusty {}|smeared {}";

/// Whole sentences about an undamaged surface.
pub const NORMAL_SENTENCES: &str = "\
    an even surface in one colour|a clean part straight from the line|\
    edges that are straight and complete|a regular texture without interruption|\
    a smooth finish with a uniform shine|every element in its place|\
    a sound piece that passes inspection|fibres that run parallel and unbroken|\
    a spotless and dry surface|a pattern that repeats without error|\
    material of constant thickness|an intact coating|nothing is wrong here|\
    the texture continues without a break|all of it looks the same|no damage can be seen|\
    a surface without marks|the pattern is regular everywhere|it is clean and whole|good material|\
    nothing stands out|flawless|perfect|undamaged";

/// Whole sentences about a damaged surface.
pub const ANOMALOUS_SENTENCES: &str = "\
    a crack that runs across the surface|a scratch through the finish|\
    a hole where material is missing|a chipped edge|a dark stain on the material|\
    rust that eats into the part|a torn fibre|a bent or misplaced element|\
    dirt and residue on the surface|a broken corner|paint that flakes off|\
    an irregular patch in the pattern|a cut in the fabric|a foreign body stuck in the material|\
    a discoloured area|a dent in the metal|something is wrong here|the texture is interrupted|\
    one place looks different from the rest|damage can be seen|a surface with a mark|\
    the pattern is broken here|it is dirty or torn|bad material|something stands out|a defect|\
    a flaw|damage|an anomaly|damaged|defective";

/// Words without a state: names of classes, and things that have nothing to do with surfaces.
pub const NEUTRAL: &str = "\
    object|surface|texture|material|thing|item|part|product|piece|sample|fabric|cloth|carpet|rug|\
    leather|tile|tiles|hex tiles|wood|grid|mesh|metal|stone|brick|bricks|wall|floor|paper|plastic|\
    rubber|glass|plate|sheet|panel|board|knit|weave|felt|foil|foam|bottle|cable|capsule|hazelnut|\
    nut|pill|screw|toothbrush|transistor|zipper|candle|cashew|gum|fryum|macaroni|circuit board|\
    magnetic tile|magnet|steel|concrete|ceramic|marble|granite|plaster|sand|gravel|cork|bark|\
    grass|wire|ring|gear|bolt|washer|pipe|dog|cat|horse|bird|fish|cow|sheep|lion|tree|flower|leaf|\
    apple|banana|orange|bread|cheese|cup|spoon|fork|knife|table|chair|house|door|window|street|\
    car|bus|train|boat|plane|bicycle|bridge|river|lake|sea|mountain|cloud|sky|moon|star|sun|rain|\
    snow|man|woman|child|girl|boy|king|queen|teacher|doctor|friend|book|letter|picture|music|song|\
    dance|game|ball|guitar|piano|clock|phone|computer|camera|lamp|bed|hat|shoe|coat|dress|shirt|\
    bag|box|key|ticket|money|garden|park|school|city|village|road|island|summer|winter|morning|\
    evening|night|red|green|blue|yellow|white|black|brown|pink|purple|grey|happy|quiet|famous|old|\
    young";

/// Sentences that say nothing of a state.
pub const NEUTRAL_TEMPLATES: &str = "\
    a photo of a {}|a photo of the {}|{}|the {}|a {}|a drawing of a {}|my {}|a story about the {}|\
    a {} and a {}|the {} of the {}|a photo of a {} in the {}|this is a {}.|\
    there is a {} in the scene.|a close-up photo of the {}|we like the {}";
