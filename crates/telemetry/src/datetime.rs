//! The two date formats of the access log, in UTC, without an allocation.

use std::time::{Duration, SystemTime};

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Writes times by changing the last one: nearly all lines fall into the second of the line before.
#[derive(Debug)]
pub(crate) struct Stamps {
    second: u64,
    text: [u8; 24],
}

impl Default for Stamps {
    fn default() -> Self {
        Self { second: u64::MAX, text: *b"0000-00-00T00:00:00.000Z" }
    }
}

impl Stamps {
    /// Appends `2026-11-23T06:15:27.123Z` (RFC 3339).
    pub(crate) fn rfc3339(&mut self, out: &mut Vec<u8>, time: SystemTime) {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            let (t, text) = (Civil::from(time), &mut self.text);
            put(&mut text[0..4], t.year);
            put(&mut text[5..7], t.month);
            put(&mut text[8..10], t.day);
            put(&mut text[11..13], t.hour);
            put(&mut text[14..16], t.minute);
            put(&mut text[17..19], t.second);
        }
        put(&mut self.text[20..23], u64::from(since.subsec_millis()));
        out.extend_from_slice(&self.text);
    }
}

/// Appends `23/Nov/2026:06:15:27 +0000`, as Apache writes it.
pub(crate) fn common_log(out: &mut Vec<u8>, time: SystemTime) {
    let t = Civil::from(time);
    let mut text = *b"00/---/0000:00:00:00 +0000";
    put(&mut text[0..2], t.day);
    let month = usize::try_from(t.month - 1).ok().and_then(|index| MONTHS.get(index));
    text[3..6].copy_from_slice(month.unwrap_or(&"---").as_bytes());
    put(&mut text[7..11], t.year);
    put(&mut text[12..14], t.hour);
    put(&mut text[15..17], t.minute);
    put(&mut text[18..20], t.second);
    out.extend_from_slice(&text);
}

/// Writes a number over all of these digits.
fn put(digits: &mut [u8], mut value: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b"0123456789"[usize::try_from(value % 10).unwrap_or(0)];
        value /= 10;
    }
}

struct Civil {
    year: u64,
    month: u64,
    day: u64,
    hour: u64,
    minute: u64,
    second: u64,
}

impl From<SystemTime> for Civil {
    /// Times before 1970 are shown as 1970.
    fn from(time: SystemTime) -> Self {
        let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
        // Howard Hinnant's days-to-civil: years begin in March, so that the leap day is a year's last.
        let z = days + 719_468;
        let (era, day_of_era) = (z / 146_097, z % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted = (5 * day_of_year + 2) / 153;
        let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
        Self {
            year: year_of_era + era * 400 + u64::from(month <= 2),
            month,
            day: day_of_year - (153 * shifted + 2) / 5 + 1,
            hour: seconds / 3_600,
            minute: seconds / 60 % 60,
            second: seconds % 60,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, millis: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis)
    }

    #[test]
    fn known_dates() {
        let mut stamps = Stamps::default();
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_782_400, "2000-02-29T00:00:00.007Z"),
            (1_709_251_199, "2024-02-29T23:59:59.007Z"),
            (1_795_414_527, "2026-11-23T06:15:27.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            let mut out = Vec::new();
            stamps.rfc3339(&mut out, at(seconds, 7));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        common_log(&mut out, at(1_795_414_527, 0));
        assert_eq!(String::from_utf8(out).unwrap(), "23/Nov/2026:06:15:27 +0000");
    }

    #[test]
    fn a_second_is_written_once_and_its_milliseconds_each_time() {
        let mut stamps = Stamps::default();
        let mut out = Vec::new();
        for millis in [7, 999, 0] {
            stamps.rfc3339(&mut out, at(1_795_414_527, millis));
        }
        let expected = [".007Z", ".999Z", ".000Z"].map(|end| format!("2026-11-23T06:15:27{end}"));
        assert_eq!(String::from_utf8(out).unwrap(), expected.concat());
    }
}
