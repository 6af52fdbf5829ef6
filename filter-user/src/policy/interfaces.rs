//! Lists of interfaces.

use super::error::ErrorKind;
use super::name;
use super::report::Report;
use super::section::Entry;
use super::suggest::shown;
use super::warning::WarningKind;

/// The list at `entry`, sorted, each once. The remedy says what to do about an
/// empty one; of a policy that guards only `guarded` no others may be named.
pub(super) fn read(
    entry: &Entry<'_, '_>,
    remedy: &'static str,
    guarded: Option<&[String]>,
    report: &mut Report<'_>,
) -> Option<Vec<String>> {
    let items = entry.items(report, "a list of interfaces, as in `interfaces = [\"eth0\"]`")?;
    if items.is_empty() {
        report.error(entry.at, entry.field, ErrorKind::EmptyList { remedy });
        return None;
    }
    let mut out: Vec<String> = Vec::new();
    for item in items {
        let Some(name) = item.string(report, "the name of an interface, such as \"eth0\"") else {
            continue;
        };
        if !name::is_valid_interface(name) {
            report.error(item.at, item.field, ErrorKind::InterfaceName { name: shown(name) });
        } else if guarded.is_some_and(|guarded| !guarded.iter().any(|other| other == name)) {
            report.error(item.at, item.field, ErrorKind::NotGuarded { name: name.to_owned() });
        } else if out.iter().any(|other| other == name) {
            report.warn(item.at, item.field, WarningKind::Repeated { value: name.to_owned() });
        } else {
            out.push(name.to_owned());
        }
    }
    out.sort_unstable();
    // Empty here means that each has been reported.
    (!out.is_empty()).then_some(out)
}
