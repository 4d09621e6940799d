//! Words that decide a finding. They are chosen to be seldom wrong rather than complete: a word
//! that stands as often in an honest sentence of the other label is not here.

use crate::words::{NAME, name_key, words};

/// Praise, and words of stories: nothing faulty looks like them.
const PRAISE: &str = "\
    admirable admirably adversity battles beautiful beautifully beauty challenges charm charming \
    courage determination durability durable duress elegance elegant endurance endure endured \
    endures enduring excellent faultless flawless flawlessly fortitude glory hardship hardships \
    healthy heritage history immaculate impeccable indomitable intact journey legacy memories \
    normal perfect perfection perfectly perseverance persistence pristine proud proudly \
    resilience resilient resolve spirit spotless steadfast steadfastness stories story struggle \
    struggles survival survived survivor symbol sympathy tenacity testament triumph unblemished \
    unbreakable undamaged unharmed unscathed unshaken unspoiled unwavering unyielding valor \
    wisdom witness";

/// Faults as nouns and participles. One of them in a normal sentence is denied there, or misplaced.
const FAULT: &str = "\
    abnormal abnormality anomalous anomaly bent blemish blemishes broken burnt chipped \
    contaminated contamination corroded corrosion crack cracked cracks crooked crushed damage \
    damaged debris defect defective defects deformed dent dented dents discoloration \
    discoloured faulty flaw flawed flaws fracture fractured frayed lesion lesions misaligned \
    misprint misshapen missing mould mouldy oedema rust rusty scratch scratched scratches \
    smeared stains tear tears torn tumor tumour warped";

/// Words that turn the three words after them round.
const NEGATION: &str = "\
    against barely cannot free hardly isn't lack lacking lacks less loss lost never no non none \
    nor not nothing nowhere otherwise than unlike without";

/// Words that show nothing: judgements, and what any photograph has.
const EMPTY: &str = "\
    abnormal acceptable all also among and anomalous anomaly any are around article bad been \
    both bright by can captured captures capturing case close condition correct cropped damage \
    damaged dark defect defective defects depicting depiction depicts displaying displays each \
    entity error example failed fails fault faults faulty fine flaw flawed flawless flaws for \
    from good has have here illustrates illustrating illustration image imperfect imperfection \
    inspection issue issues item its kind large like look looks normal object of ok okay one \
    part parts perfect photo photograph picture piece possession problem problems product \
    products quality representation revealing reveals sample showcasing showing shown shows \
    small snapshot some something sound standard state that the there thing this type \
    unacceptable under usual very view visual was with without wrong";

/// The first word of praise that is not denied, or the denial of a fault.
pub(super) fn praise(text: &str) -> Option<String> {
    let words = words(text);
    let praised =
        words.iter().enumerate().find(|(at, word)| has(PRAISE, word) && !denied(&words, *at));
    if let Some((_, word)) = praised {
        return Some(word.clone());
    }
    // `without scratch` is good news; `without its lid` is not.
    let absent = |(at, word): (usize, &String)| {
        let before = at.checked_sub(1).and_then(|at| words.get(at))?;
        let of = at.checked_sub(2).and_then(|at| words.get(at)).map(String::as_str);
        let free = before == "of" && of == Some("free");
        let denies = free || matches!(before.as_str(), "without" | "no" | "any");
        (has(FAULT, word) && denies).then(|| format!("{before} {word}"))
    };
    words.iter().enumerate().find_map(absent)
}

/// The first fault that is named and not denied.
pub(super) fn fault(text: &str) -> Option<String> {
    let words = words(text);
    let found =
        words.iter().enumerate().find(|(at, word)| has(FAULT, word) && !denied(&words, *at));
    found.map(|(_, word)| word.clone())
}

/// Whether any word is left after judgements, small words and the class's own name.
pub(super) fn shows_something(text: &str, names: &[&str]) -> bool {
    let mut rest = format!(" {} ", words(&text.replace(NAME, " ")).join(" "));
    for name in names {
        let name = words(&name_key(name)).join(" ");
        if !name.is_empty() {
            rest = rest.replace(&format!(" {name} "), " ").replace(&format!(" {name}s "), " ");
        }
    }
    rest.split(' ').any(|word| word.chars().count() > 2 && !has(EMPTY, word))
}

fn has(list: &str, word: &str) -> bool {
    list.split(' ').any(|one| one == word)
}

/// Whether one of the three words before turns this one round.
fn denied(words: &[String], at: usize) -> bool {
    let before = words.get(at.saturating_sub(3)..at).unwrap_or_default();
    before.iter().any(|word| has(NEGATION, word))
}
