//! Rates: `{ rate = "20/s", burst = 40 }`.

use super::error::ErrorKind;
use super::model::{Period, Rate};
use super::report::Report;
use super::schema::RATE;
use super::section::{Entry, Section};
use super::suggest::shown;
use super::warning::WarningKind;

/// The largest frame that the kernel hands over in generic mode, where it has
/// merged packets by then (GRO, 64 kB): a smaller burst could never pass it.
const LARGEST_FRAME: u64 = 65_536;

/// A bucket must be full again within this many seconds: a year.
const LONGEST_REFILL: u128 = 31_536_000;

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Packets or connections.
    Packets,
    /// Bytes.
    Bytes,
}

impl Unit {
    const fn example(self) -> &'static str {
        match self {
            Self::Packets => {
                "a whole number, perhaps k, M or G, and /s, /m or /h, such as \"2000/s\" or \"2k/s\""
            }
            Self::Bytes => {
                "a whole number, one of B, kB, MB or GB, and /s, /m or /h, such as \"50MB/s\""
            }
        }
    }
}

/// Why a rate or a burst is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// Not of the form.
    #[error("`{written}` is no rate; write {}", .unit.example())]
    Malformed {
        /// As written.
        written: String,
        /// What it should count.
        unit: Unit,
    },
    /// A burst not of the form.
    #[error("`{0}` is no burst; write a whole number of bytes, such as 100000 or \"1MB\"")]
    Burst(String),
    /// Nothing would ever pass.
    #[error(
        "a rate of 0 lets nothing pass; write at least 1, or take the key out where it should be closed"
    )]
    Zero,
    /// Nothing would ever pass.
    #[error(
        "a burst below 1 lets nothing pass; write at least 1, or take it out for one second's worth"
    )]
    ZeroBurst,
    /// Beyond 64 bits.
    #[error("`{0}` is too large; take the limit out if there should be none")]
    TooLarge(String),
    /// A bucket that is as good as never full again.
    #[error(
        "a burst of {burst} at {amount}/{period} takes more than a year to fill; write a smaller burst or a higher rate"
    )]
    Refill {
        /// Units.
        burst: u64,
        /// Units.
        amount: u64,
        /// In which time.
        period: Period,
    },
}

/// The rate that `entry` holds.
pub(super) fn read(entry: &Entry<'_, '_>, unit: Unit, report: &mut Report<'_>) -> Option<Rate> {
    let expected = match unit {
        Unit::Packets => "a table with a rate, as in `{ rate = \"20/s\", burst = 40 }`",
        Unit::Bytes => "a table with a rate, as in `{ rate = \"50MB/s\", burst = \"1MB\" }`",
    };
    let section = entry.section(&RATE, report, expected)?;
    let rate = read_rate(&section, unit, report);
    let burst = match section.get("burst") {
        Some(entry) => read_burst(&entry, unit, report).map(Some),
        None => Some(None),
    };
    let ((amount, period), burst) = (rate?, burst?);
    let (burst, at, field) = match burst {
        Some(burst) => (burst, section.at_key("burst"), section.field.key("burst")),
        None => {
            (default_burst(amount, period, unit), section.at_key("rate"), section.field.key("rate"))
        }
    };
    if u128::from(burst) * u128::from(period.seconds()) > u128::from(amount) * LONGEST_REFILL {
        report.error(at, field, RateError::Refill { burst, amount, period });
        return None;
    }
    Some(Rate { amount, period, burst })
}

/// One second's worth, at least one packet or the largest frame.
fn default_burst(amount: u64, period: Period, unit: Unit) -> u64 {
    let least = match unit {
        Unit::Packets => 1,
        Unit::Bytes => LARGEST_FRAME,
    };
    (amount / period.seconds()).max(least)
}

fn read_rate(
    section: &Section<'_, '_>,
    unit: Unit,
    report: &mut Report<'_>,
) -> Option<(u64, Period)> {
    let example = match unit {
        Unit::Packets => "rate = \"20/s\"",
        Unit::Bytes => "rate = \"50MB/s\"",
    };
    let entry = section.require("rate", example, report)?;
    let expected = match unit {
        Unit::Packets => "a string such as \"2000/s\"",
        Unit::Bytes => "a string such as \"50MB/s\"",
    };
    let text = entry.string(report, expected)?;
    let parsed = parse_rate(text, unit);
    parsed.map_err(|error| report.error(entry.at, entry.field, error)).ok()
}

fn read_burst(entry: &Entry<'_, '_>, unit: Unit, report: &mut Report<'_>) -> Option<u64> {
    let burst = match (unit, entry.as_str()) {
        (Unit::Bytes, Some(text)) => {
            parse_quantity(text, unit).unwrap_or_else(|| Err(RateError::Burst(shown(text))))
        }
        (Unit::Bytes, None) => {
            whole(entry.integer(report, "a whole number of bytes, or a string such as \"1MB\"")?)
        }
        (Unit::Packets, _) => whole(entry.integer(report, "a whole number, such as 40")?),
    };
    match burst {
        Ok(0) => report.error(entry.at, entry.field, RateError::ZeroBurst),
        Ok(burst) => {
            if unit == Unit::Bytes && burst < LARGEST_FRAME {
                let kind = WarningKind::SmallByteBurst { burst, least: LARGEST_FRAME };
                report.warn(entry.at, entry.field, kind);
            }
            return Some(burst);
        }
        Err(error) => report.error(entry.at, entry.field, error),
    }
    None
}

fn whole(number: i128) -> Result<u64, RateError> {
    match u64::try_from(number) {
        Ok(number) => Ok(number),
        Err(_) if number < 0 => Err(RateError::ZeroBurst),
        Err(_) => Err(RateError::TooLarge(number.to_string())),
    }
}

fn parse_rate(text: &str, unit: Unit) -> Result<(u64, Period), RateError> {
    let malformed = || RateError::Malformed { written: shown(text), unit };
    let (quantity, period) = text.split_once('/').ok_or_else(malformed)?;
    let period = match period {
        "s" => Period::Second,
        "m" => Period::Minute,
        "h" => Period::Hour,
        _ => return Err(malformed()),
    };
    match parse_quantity(quantity, unit).ok_or_else(malformed)?? {
        0 => Err(RateError::Zero),
        amount => Ok((amount, period)),
    }
}

/// `N`, `Nk`, `NM` or `NG`, for bytes with a `B` that may be left out; `None` if it is none of these.
fn parse_quantity(text: &str, unit: Unit) -> Option<Result<u64, RateError>> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    let suffix = match unit {
        Unit::Bytes => suffix.strip_suffix('B').unwrap_or(suffix),
        Unit::Packets => suffix,
    };
    let factor: u64 = match suffix {
        "" => 1,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return None,
    };
    if digits.is_empty() {
        return None;
    }
    let amount = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
    Some(amount.ok_or_else(|| RateError::TooLarge(shown(text))))
}

/// What both uses of a rate in `[icmp]`, and that in `[log]`, may say: a rate, or `false`.
pub(super) fn read_or_false(entry: &Entry<'_, '_>, report: &mut Report<'_>) -> Option<Rate> {
    match entry.as_bool() {
        Some(false) => None,
        Some(true) => {
            let expected = "false, or a rate as in `{ rate = \"10/s\" }`";
            report.error(entry.at, entry.field, ErrorKind::WrongType { found: "true", expected });
            None
        }
        None => read(entry, Unit::Packets, report),
    }
}
