//! A walk over a JPEG's markers, for what the decoder does not tell: it fills a cut-off file with
//! grey and turns CMYK into RGB without a word.

/// What the markers say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Markers {
    /// 1 grey, 3 colour, 4 CMYK or YCCK; `None` if no frame header was found.
    pub(super) n_components: Option<u8>,
    /// The end marker was reached: no scan is cut off.
    pub(super) complete: bool,
}

pub(super) fn walk(bytes: &[u8]) -> Markers {
    let mut markers = Markers { n_components: None, complete: false };
    let mut at = 2;
    loop {
        // Between segments only fill bytes may stand; inside a scan everything up to a real marker.
        let Some(code) = next_marker(bytes, &mut at) else {
            return markers;
        };
        match code {
            0xD9 => {
                markers.complete = true;
                return markers;
            }
            0xC0..=0xCF if !matches!(code, 0xC4 | 0xC8 | 0xCC) => {
                markers.n_components = bytes.get(at + 7).copied();
            }
            _ => {}
        }
        let Some(length) = bytes.get(at..at + 2) else {
            return markers;
        };
        at += usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
    }
}

/// Code of the next marker at or after `at`, which moves behind it. Stuffed zeros and restart
/// markers belong to a scan's data.
fn next_marker(bytes: &[u8], at: &mut usize) -> Option<u8> {
    loop {
        let rest = bytes.get(*at..)?;
        *at += rest.iter().position(|byte| *byte == 0xFF)? + 1;
        match *bytes.get(*at)? {
            0xFF => {}
            0x00 | 0x01 | 0xD0..=0xD8 => *at += 1,
            code => {
                *at += 1;
                return Some(code);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], n_components: Option<u8>, complete: bool) {
        assert_eq!(walk(bytes), Markers { n_components, complete }, "{bytes:x?}");
    }

    #[test]
    fn frames_scans_and_ends_are_told_apart() {
        let frame = [0xFF, 0xC2, 0, 9, 8, 0, 1, 0, 1, 4, 0];
        let scan = [0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xFF, 0xD3, 2];
        let join = |parts: &[&[u8]]| [&[0xFF, 0xD8], parts.concat().as_slice()].concat();
        check(&join(&[&frame, &scan, &[0xFF, 0xFF, 0xD9]]), Some(4), true);
        check(&join(&[&frame, &scan]), Some(4), false);
        check(&join(&[&[0xFF, 0xE1, 0, 5, 0xFF, 0xD9, 0], &scan]), None, false);
        check(&join(&[]), None, false);
        check(&join(&[&[0xFF, 0xC0]]), None, false);
        check(&[], None, false);
    }
}
