//! Sizes and ages as people write them, printed the way they are read.

use std::fmt;
use std::str::FromStr;

/// A number of bytes: `500MB` (powers of ten), `2GiB` (powers of two), or a bare number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A span of time: `90d`, `12h`, `1d 6h`. A day has 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Age {
    /// Milliseconds.
    pub ms: i64,
}

/// What was written is no size or no age.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// No size.
    #[error("`{0}` is no size: write a number and a unit, like `500MB` or `2GiB`")]
    Size(String),
    /// No age.
    #[error("`{0}` is no age: write a number and a unit, like `90d` or `12h`")]
    Age(String),
}

const SIZES: [(&str, u64); 13] = [
    ("B", 1),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("PB", 1_000_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("PiB", 1 << 50),
    ("", 1),
];

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Size(text.to_owned());
        let trimmed = text.trim();
        let end = trimmed.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let unit = unit.trim();
        let (_, factor) = SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
        if let Ok(whole) = number.parse::<u64>() {
            return whole.checked_mul(*factor).map(Self).ok_or_else(error);
        }
        let value = number.parse::<f64>().map_err(|_| error())? * *factor as f64;
        // Sizes with a fraction are rounded to bytes; beyond 2^53 that is no loss anybody could mean. 2^64 is one too many.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked just before")]
        if value.is_finite() && (0.0..u64::MAX as f64).contains(&value) { Ok(Self(value.round() as u64)) } else { Err(error()) }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("PiB", 1u64 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
        match units.iter().find(|(_, factor)| self.0 >= *factor) {
            None => write!(f, "{}B", self.0),
            Some((unit, factor)) if self.0.is_multiple_of(*factor) => write!(f, "{}{unit}", self.0 / factor),
            Some((unit, factor)) => write!(f, "{:.1}{unit}", self.0 as f64 / *factor as f64),
        }
    }
}

const AGES: [(&str, i64); 6] = [("w", 7 * 86_400_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl FromStr for Age {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = || UnitError::Age(text.to_owned());
        let mut rest = text.trim();
        let mut ms: i64 = 0;
        if rest.is_empty() {
            return Err(error());
        }
        while !rest.is_empty() {
            let digits = rest.find(|character: char| !character.is_ascii_digit()).ok_or_else(error)?;
            let number: i64 = rest[..digits].parse().map_err(|_| error())?;
            rest = &rest[digits..];
            let letters = rest.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(rest.len());
            let (_, factor) = AGES.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(error)?;
            ms = number.checked_mul(*factor).and_then(|part| ms.checked_add(part)).ok_or_else(error)?;
            rest = rest[letters..].trim_start();
        }
        Ok(Self { ms })
    }
}

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ms == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.ms;
        let mut first = true;
        for (unit, factor) in &AGES[1..] {
            if rest >= *factor {
                write!(f, "{}{}{unit}", if first { "" } else { " " }, rest / factor)?;
                rest %= factor;
                first = false;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_printed() {
        for (text, bytes) in [
            ("0", 0),
            ("17", 17),
            ("500MB", 500_000_000),
            ("2GiB", 2 << 30),
            ("1.5GiB", 3 << 29),
            ("1 TB", 1_000_000_000_000),
            ("10kB", 10_000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for bad in ["", "GB", "1 gib", "-1", "1e9", "5 apples", "99999999999PiB", "1.2.3MB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        for bytes in [0, 17, 1023, 1024, 3 << 29, 2 << 40] {
            assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
        }
        assert_eq!(Size(1_234_567).to_string(), "1.2MiB");
    }

    #[test]
    fn ages_are_read_as_they_are_printed() {
        for (text, ms) in
            [("90d", 90 * 86_400_000), ("12h", 43_200_000), ("1d 6h", 108_000_000), ("1d6h", 108_000_000), ("2w", 14 * 86_400_000)]
        {
            assert_eq!(text.parse(), Ok(Age { ms }), "{text}");
        }
        for bad in ["", "d", "90", "90 days", "-1d", "1.5h", "99999999999999w"] {
            assert!(bad.parse::<Age>().is_err(), "{bad}");
        }
        for ms in [0, 1, 1_000, 61_000, 30 * 86_400_000, 108_000_000] {
            assert_eq!(Age { ms }.to_string().parse(), Ok(Age { ms }));
        }
        assert_eq!(Age { ms: 30 * 86_400_000 }.to_string(), "30d");
    }
}
