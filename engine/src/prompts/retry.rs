//! When to send a request again.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime};

/// How long and how often a request is sent again.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries after the first.
    pub retries: u32,
    /// Before the second try; each further one waits twice as long.
    pub wait: Duration,
}

/// Longest pause between two tries, whoever wants it.
pub const LONGEST: Duration = Duration::from_secs(300);

impl Patience {
    /// The pause after the try `attempt`, from 0: between half of what doubling gives and all of
    /// it, so that several programs that were refused together do not come back together.
    pub fn pause(&self, attempt: u32) -> Duration {
        // A hasher with keys of its own is the standard library's only source of chance.
        let chance = RandomState::new().hash_one(attempt) as f64 / u64::MAX as f64;
        let whole = self.wait.saturating_mul(1 << attempt.min(20)).min(LONGEST);
        whole.mul_f64(0.5 + 0.5 * chance)
    }
}

/// What a `Retry-After` header asks for: seconds, or a date. `None` for anything else.
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    if let Ok(seconds) = header.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    Some(Duration::from_secs(http_date(header)?.saturating_sub(now)))
}

/// Seconds from 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let parts: Vec<&str> = date.split_whitespace().collect();
    let [day, month, year, time, "GMT"] = parts.as_slice() else { return None };
    let clock: Vec<u64> = time.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock.as_slice() else { return None };
    let (day, year) = (day.parse::<u64>().ok()?, year.parse::<u64>().ok()?);
    let month = MONTHS.iter().position(|name| name == month)?;
    if !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    if *hours > 23 || *minutes > 59 || *seconds > 60 {
        return None;
    }
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let days_of = |month: usize| match month {
        1 => 28 + u64::from(is_leap(year)),
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    };
    let days: u64 = (1970..year).map(|year| 365 + u64::from(is_leap(year))).sum::<u64>()
        + (0..month).map(days_of).sum::<u64>()
        + day
        - 1;
    Some(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_vary() {
        let patience = Patience { retries: 9, wait: Duration::from_secs(1) };
        for (attempt, whole) in [(0, 1.0), (1, 2.0), (3, 8.0), (20, 300.0), (99, 300.0)] {
            let pause = patience.pause(attempt).as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&pause), "{attempt}: {pause}");
        }
        let pauses: std::collections::BTreeSet<_> = (0..8).map(|_| patience.pause(4)).collect();
        assert!(pauses.len() > 1, "{pauses:?}");
    }

    /// The dates' seconds are those of GNU date.
    #[test]
    fn an_endpoint_may_say_when() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_770);
        let after = |header: &str| retry_after(header, now).map(|pause| pause.as_secs_f64());
        assert_eq!(after(" 7 "), Some(7.0));
        assert_eq!(after("0.25"), Some(0.25));
        assert_eq!(after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(7.0));
        assert_eq!(after("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0.0), "long past");
        assert_eq!(http_date("Tue, 29 Feb 2028 12:00:01 GMT"), Some(1_835_438_401));
        for wrong in ["", "soon", "-1", "NaN", "1e400", "Sun, 06 Nov 1994 08:49:37 CET"] {
            assert_eq!(after(wrong), None, "{wrong}");
        }
        assert_eq!(after("Sun, 00 Nov 1994 08:49:37 GMT"), None);
        assert_eq!(after("Sun, 06 Nov 1994 99999999999999999999:0:0 GMT"), None);
        assert_eq!(after("Sun, 06 Nov 99999 08:49:37 GMT"), None);
    }
}
